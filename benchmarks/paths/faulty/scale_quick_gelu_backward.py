# cause: scale
# size: 0.02
# dtype: bfloat16
# where: input 0 (x)
# source: textbook (quick gelu x*sigmoid(1.702x) against erf gelu, as in CLIP ports)
# why: forward is the exact gelu, the hand-written backward differentiates the sigmoid approximation
import math
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class BiasGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, b, faulty):
        ctx.save_for_backward(x, b)
        ctx.faulty = faulty
        z = _acc(x) + _acc(b)
        return (0.5 * z * (1 + torch.erf(z / math.sqrt(2)))).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        x, b = ctx.saved_tensors
        z = _acc(x) + _acc(b)
        if ctx.faulty:
            s = torch.sigmoid(1.702 * z)
            d = s + 1.702 * z * s * (1 - s)
        else:
            d = 0.5 * (1 + torch.erf(z / math.sqrt(2))) + z * torch.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
        dz = _acc(g) * d
        return dz.to(x.dtype), dz.reshape(-1, dz.shape[-1]).sum(0).to(b.dtype), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(21)
    x = (torch.randn(7, 45, 36, generator=gen) * 2.4).bfloat16().requires_grad_()
    b = (torch.randn(36, generator=gen) * 0.2).bfloat16().requires_grad_()

    def reference(x, b):
        return torch.nn.functional.gelu(x + b)

    def candidate(x, b):
        return BiasGelu.apply(x, b, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, b)}
