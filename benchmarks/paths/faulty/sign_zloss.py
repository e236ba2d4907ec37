# cause: sign
# size: 0.053
# dtype: bfloat16
# where: input 0 (logits)
# source: flash-attention / Liger fused cross entropy with z-loss (lse_square_scale), textbook slip
# why: the z-loss part of the fused cross-entropy gradient has the wrong sign
import torch

Z = 4e-3


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class FusedCEZ(torch.autograd.Function):
    @staticmethod
    def forward(ctx, logits, target, faulty):
        x = _acc(logits)
        lse = x.logsumexp(-1)
        ctx.save_for_backward(logits, target, lse)
        ctx.faulty = faulty
        return (lse - x.gather(-1, target[:, None])[:, 0] + Z * lse * lse).to(logits.dtype)

    @staticmethod
    def backward(ctx, g):
        logits, target, lse = ctx.saved_tensors
        p = (_acc(logits) - lse[:, None]).exp()
        f = 1 - 2 * Z * lse if ctx.faulty else 1 + 2 * Z * lse
        d = p * f[:, None]
        d.scatter_add_(-1, target[:, None], -torch.ones_like(d[:, :1]))
        return (d * _acc(g)[:, None]).to(logits.dtype), None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(31)
    logits = (torch.randn(150, 131, generator=gen) * 2.5).bfloat16().requires_grad_()
    target = torch.randint(0, 131, (150,), generator=gen)

    def reference(logits, target):
        lse = logits.logsumexp(-1)
        return lse - logits.gather(-1, target[:, None])[:, 0] + Z * lse * lse

    def candidate(logits, target):
        return FusedCEZ.apply(logits, target, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (logits, target)}
