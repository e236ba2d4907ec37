# cause: scale
# size: 0.29
# dtype: float32
# where: input 0 (x) alone; the parameters' gradients are right
# source: pytorch/pytorch pull 36382 and pull 36688 (NVIDIA/apex pull 792)
# why: the backward's means over the ranks are averaged as if every rank held as many rows
import torch
from torch import nn

RANKS = (11, 2, 5)


class SyncNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, faulty):
        mean = x.mean(0)
        rstd = torch.rsqrt((x - mean).square().mean(0) + 1e-5)
        ctx.save_for_backward(x, w, mean, rstd)
        ctx.faulty = faulty
        return (x - mean) * rstd * w + b

    @staticmethod
    def backward(ctx, g):
        x, w, mean, rstd = ctx.saved_tensors
        xhat, gw = (x - mean) * rstd, g * w
        sums = [(a.sum(0), (a * h).sum(0), len(a)) for a, h in zip(gw.split(RANKS), xhat.split(RANKS))]
        if ctx.faulty:
            m1 = sum(s / n for s, _, n in sums) / len(RANKS)
            m2 = sum(s / n for _, s, n in sums) / len(RANKS)
        else:
            count = sum(n for _, _, n in sums)
            m1, m2 = sum(s for s, _, _ in sums) / count, sum(s for _, s, _ in sums) / count
        return rstd * (gw - m1 - xhat * m2), (g * xhat).sum(0), g.sum(0), None


class Norm(nn.Module):
    def __init__(self, sync, faulty=False):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(10) * 0.2 + 1), nn.Parameter(torch.randn(10))
        self.sync, self.faulty = sync, faulty

    def forward(self, x):
        if self.sync:
            if x.shape[0] != sum(RANKS):
                raise ValueError(f"the ranks hold {sum(RANKS)} rows together")
            return SyncNorm.apply(x, self.weight, self.bias, self.faulty)
        away = x - x.mean(0)
        return away * torch.rsqrt(away.square().mean(0) + 1e-5) * self.weight + self.bias


def case(faulty: bool) -> dict:
    torch.manual_seed(312)
    reference, candidate = Norm(False), Norm(True, faulty)
    candidate.load_state_dict(reference.state_dict())
    x = torch.randn(sum(RANKS), 10).requires_grad_()
    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
