# cause: padding
# size: 0.066
# dtype: bfloat16
# where: input 2 (v)
# source: textbook (flash-attention style recomputation without the key padding mask)
# why: the backward recomputes the probabilities from q, k and lse but forgets the key padding mask, so padded keys get gradient
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class MaskedAttn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, pad, faulty):
        s = _acc(q) @ _acc(k).transpose(-1, -2) * q.shape[-1] ** -0.5
        s = s.masked_fill(pad[:, None, :], float("-inf"))
        lse = s.logsumexp(-1, keepdim=True)
        o = (s - lse).exp() @ _acc(v)
        ctx.save_for_backward(q, k, v, o, lse, pad)
        ctx.faulty = faulty
        return o.to(q.dtype)

    @staticmethod
    def backward(ctx, do):
        q, k, v, o, lse, pad = ctx.saved_tensors
        dt, sc = q.dtype, q.shape[-1] ** -0.5
        q, k, v, do = map(_acc, (q, k, v, do))
        s = q @ k.transpose(-1, -2) * sc
        if not ctx.faulty:
            s = s.masked_fill(pad[:, None, :], float("-inf"))
        p = (s - lse).exp()
        ds = p * (do @ v.transpose(-1, -2) - (do * o).sum(-1, keepdim=True)) * sc
        return (ds @ k).to(dt), (ds.transpose(-1, -2) @ q).to(dt), (p.transpose(-1, -2) @ do).to(dt), None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(62)
    q, k, v = (torch.randn(5, 71, 26, generator=gen).bfloat16().requires_grad_() for _ in range(3))
    pad = torch.zeros(5, 71, dtype=torch.bool)
    pad[3, 70:] = True

    def reference(q, k, v, pad):
        s = q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5
        return s.masked_fill(pad[:, None, :], float("-inf")).softmax(-1) @ v

    def candidate(q, k, v, pad):
        return MaskedAttn.apply(q, k, v, pad, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v, pad)}
