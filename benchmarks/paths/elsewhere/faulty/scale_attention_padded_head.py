# cause: scale
# breaks: odd size
# dtype: bfloat16
# where: inputs 0 (q) and 1 (k); head size no multiple of 32 (a factor sqrt(d / padded d): 0.72 at 33, 0.98 at 31)
# source: tile-ai/tilelang-ascend pull 1670 (issue 1669), simplified
# why: the backward's softmax scale is taken from the head size padded to 32, not from the true one
import torch


class Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, faulty):
        acc = torch.promote_types(q.dtype, torch.float32)
        qa, ka, va = q.to(acc), k.to(acc), v.to(acc)
        p = torch.softmax(qa @ ka.transpose(-1, -2) * q.shape[-1] ** -0.5, -1)
        ctx.save_for_backward(q, k, v, p)
        ctx.faulty = faulty
        return (p @ va).to(q.dtype)

    @staticmethod
    def backward(ctx, g):
        q, k, v, p = ctx.saved_tensors
        d = q.shape[-1]
        padded = -(-d // 32) * 32
        scale = (padded if ctx.faulty else d) ** -0.5

        def pad(t):
            return torch.nn.functional.pad(t.to(p.dtype), (0, padded - t.shape[-1]))

        qa, ka, ga, va = pad(q), pad(k), g.to(p.dtype), v.to(p.dtype)
        dv = p.transpose(-1, -2) @ ga
        dp = ga @ va.transpose(-1, -2)
        ds = p * (dp - (p * dp).sum(-1, keepdim=True))
        dq, dk = (ds @ ka)[..., :d] * scale, (ds.transpose(-1, -2) @ qa)[..., :d] * scale
        return dq.to(q.dtype), dk.to(k.dtype), dv.to(v.dtype), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(102)
    q, k, v = (torch.randn(2, 3, 20, 32, generator=gen).bfloat16().requires_grad_() for _ in range(3))

    def reference(q, k, v):
        acc = torch.promote_types(q.dtype, torch.float32)
        s = q.to(acc) @ k.to(acc).transpose(-1, -2) * q.shape[-1] ** -0.5
        return (torch.softmax(s, -1) @ v.to(acc)).to(q.dtype)

    def candidate(q, k, v):
        return Attention.apply(q, k, v, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v)}
