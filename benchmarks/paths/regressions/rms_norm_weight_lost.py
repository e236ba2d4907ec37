# cause: missing-term
# size: 1
# dtype: bfloat16
# where: the parameter norm.weight alone (no gradient at all)
# source: unslothai/unsloth issue 4533 and issue 45 (pull 4550)
# why: the fused backward hands back None for the weight, trained in full fine-tuning
import torch
from torch import nn


class FastRMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, faulty):
        xa = x.to(torch.promote_types(x.dtype, torch.float32))
        rstd = torch.rsqrt(xa.square().mean(-1, keepdim=True) + 1e-6)
        ctx.save_for_backward(x, w, rstd)
        ctx.faulty = faulty
        return (xa * rstd).to(x.dtype) * w

    @staticmethod
    def backward(ctx, g):
        x, w, rstd = ctx.saved_tensors
        xhat, ga = x.to(rstd.dtype) * rstd, g.to(rstd.dtype)
        gw = ga * w
        dx = rstd * (gw - xhat * (gw * xhat).mean(-1, keepdim=True))
        dw = None if ctx.faulty else (ga * xhat).reshape(-1, len(w)).sum(0).to(w.dtype)
        return dx.to(x.dtype), dw, None


class Norm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(d) * 0.2 + 1)


class Layer(nn.Module):
    def __init__(self, fused, faulty=False):
        super().__init__()
        self.norm, self.proj = Norm(32), nn.Linear(32, 24)
        self.fused, self.faulty = fused, faulty

    def forward(self, x):
        if self.fused:
            h = FastRMSNorm.apply(x, self.norm.weight, self.faulty)
        else:
            h = x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-6) * self.norm.weight
        return self.proj(h)


def case(faulty: bool) -> dict:
    torch.manual_seed(303)
    reference, candidate = Layer(False).bfloat16(), Layer(True, faulty).bfloat16()
    candidate.load_state_dict(reference.state_dict())
    x = torch.randn(3, 20, 32).bfloat16().requires_grad_()
    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
