# cause: missing-term
# size: 0.32
# dtype: float32
# where: weight, the entries that round to exactly the lowest or highest level
# source: pytorch/ao pull 4806 (after pytorch/pytorch pull 191142)
# why: the straight-through mask took the levels' bounds out (> and <, where >= and <= is wanted)
import torch
from torch import nn

SCALE, LOW, HIGH = 0.125, -8, 7


class FakeQuant(torch.autograd.Function):
    @staticmethod
    def forward(ctx, w, faulty):
        level = torch.round(w / SCALE)
        inside = (level > LOW) & (level < HIGH) if faulty else (level >= LOW) & (level <= HIGH)
        ctx.save_for_backward(inside)
        return level.clamp(LOW, HIGH) * SCALE

    @staticmethod
    def backward(ctx, g):
        inside, = ctx.saved_tensors
        return torch.where(inside, g, torch.zeros_like(g)), None


class QuantLinear(nn.Module):
    def __init__(self, own, faulty=False):
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.randn(20, 24) * 0.7), nn.Parameter(torch.randn(20))
        self.own, self.faulty = own, faulty

    def forward(self, x):
        w = self.weight
        if self.own:
            q = FakeQuant.apply(w, self.faulty)
        else:
            level = torch.round(w.detach() / SCALE)
            straight = torch.where((level >= LOW) & (level <= HIGH), w, w.detach())
            q = straight + (level.clamp(LOW, HIGH) * SCALE - w.detach())
        return torch.nn.functional.linear(x, q, self.bias)


def case(faulty: bool) -> dict:
    torch.manual_seed(304)
    reference, candidate = QuantLinear(False), QuantLinear(True, faulty)
    candidate.load_state_dict(reference.state_dict())
    x = torch.randn(16, 24).requires_grad_()
    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
