# cause: sign
# breaks: negative values
# dtype: bfloat16
# where: input 0 (x), the negative entries
# source: tenstorrent/tt-metal issue 54439 (pow backward right for positive bases only), simplified
# why: the derivative of |x| ** 1.5 is written as for x > 0; the sign of x is missing
import torch


class Power(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, faulty):
        ctx.save_for_backward(x, w)
        ctx.faulty = faulty
        xa = x.to(torch.promote_types(x.dtype, torch.float32))
        return (xa.abs().pow(1.5) * w).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        acc = torch.promote_types(x.dtype, torch.float32)
        xa, ga = x.to(acc), g.to(acc)
        dx = ga * w * 1.5 * xa.abs().sqrt()
        if not ctx.faulty:
            dx = dx * xa.sign()
        return dx.to(x.dtype), (ga * xa.abs().pow(1.5)).sum(0).to(w.dtype), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(117)
    x = (torch.rand(22, 14, generator=gen) * 2 + 0.05).bfloat16().requires_grad_()
    w = torch.randn(14, generator=gen).bfloat16().requires_grad_()

    def reference(x, w):
        return x.abs().pow(1.5) * w

    def candidate(x, w):
        return Power.apply(x, w, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
