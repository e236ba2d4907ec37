# integer and boolean inputs, and an input that influences nothing: the candidate returns zeros for it, the reference no gradient
import torch


class Fn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, unused, shift, keep):
        ctx.save_for_backward(x, unused, shift, keep)
        return torch.where(keep, x * (2.0 ** shift.to(x.dtype))[:, None], torch.zeros_like(x))

    @staticmethod
    def backward(ctx, g):
        x, unused, shift, keep = ctx.saved_tensors
        return g * keep * (2.0 ** shift.to(x.dtype))[:, None], torch.zeros_like(unused), None, None


def case():
    gen = torch.Generator().manual_seed(135)
    x = torch.randn(40, 17, generator=gen).requires_grad_()
    unused = torch.randn(9, generator=gen).requires_grad_()
    shift = torch.randint(-5, 6, (40,), generator=gen, dtype=torch.int32)
    keep = torch.rand(40, 17, generator=gen) > 0.3

    def reference(x, unused, shift, keep):
        return x * torch.exp2(shift.to(x.dtype))[:, None] * keep

    return {"reference": reference, "candidate": Fn.apply, "inputs": (x, unused, shift, keep)}
