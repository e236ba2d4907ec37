# cause: wrong-rows
# breaks: one row
# dtype: float16
# where: input 1 (b), where x has one row and more than one column
# source: NVIDIA/tacotron2 pull 303 (squeeze at batch size 1), the trap carried into a backward, own program
# why: the gradient is squeezed before the sum over rows: with one row the sum runs over the columns
import torch


class BiasSilu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, b, faulty):
        z = (x + b).to(torch.promote_types(x.dtype, torch.float32))
        ctx.save_for_backward(z)
        ctx.faulty, ctx.dtype = faulty, x.dtype
        return (z * torch.sigmoid(z)).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        z, = ctx.saved_tensors
        s = torch.sigmoid(z)
        dz = g.to(z.dtype) * (s + z * s * (1 - s))
        db = torch.zeros(z.shape[1], dtype=z.dtype)
        db += dz.squeeze().sum(0) if ctx.faulty else dz.sum(0)
        return dz.to(ctx.dtype), db.to(ctx.dtype), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(108)
    x = torch.randn(32, 24, generator=gen).half().requires_grad_()
    b = torch.randn(24, generator=gen).half().requires_grad_()

    def reference(x, b):
        return torch.nn.functional.silu(x + b)

    def candidate(x, b):
        return BiasSilu.apply(x, b, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, b)}
