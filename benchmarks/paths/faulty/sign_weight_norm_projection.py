# cause: sign
# size: 0.06
# dtype: bfloat16
# where: 2
# source: fused weight_norm backward (PyTorch _weight_norm_interface / apex weight norm), sign of the projection
# why: dv adds the component along v instead of taking it out
import torch, torch.nn.functional as F


def up(t):
    return t if t.dtype == torch.float64 else t.float()


class WeightNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, g, v, sign):
        norm = up(v).norm(dim=1, keepdim=True)
        ctx.save_for_backward(g, v, norm)
        ctx.sign = sign
        return (up(g) * up(v) / norm).to(v.dtype)

    @staticmethod
    def backward(ctx, dw):
        g, v, norm = ctx.saved_tensors
        hat, d = up(v) / norm, up(dw)
        along = (d * hat).sum(1, keepdim=True)
        dv = up(g) / norm * (d - ctx.sign * along * hat)
        return along.to(g.dtype), dv.to(v.dtype), None


def case(faulty):
    torch.manual_seed(9)
    fan = 15 * 11 * 7
    x = torch.randn(30, fan).bfloat16().requires_grad_()
    g = (torch.rand(13, 1) + 0.5).bfloat16().requires_grad_()
    v = (torch.randn(13, fan) * 0.1).bfloat16().requires_grad_()
    b = (torch.randn(13) * 0.1).bfloat16().requires_grad_()

    def reference(x, g, v, b):
        w = g * v / v.norm(dim=1, keepdim=True)
        return F.linear(x, w, b)

    def candidate(x, g, v, b):
        w = WeightNorm.apply(g, v, -1.0 if faulty else 1.0)
        return F.linear(x, w, b)

    return {"reference": reference, "candidate": candidate, "inputs": (x, g, v, b)}
