# cause: wrong-rows
# size: 0.29
# dtype: float32
# where: the parameter gate.weight, and gate.bias; a little of the input's; up.weight's is right
# source: linkedin/Liger-Kernel issue 272 (pull 273); pytorch/pytorch issue 197887
# why: an activation writes over a tensor that the product saved, through .data, so that no version check sees it
import torch
from torch import nn


class Gated(nn.Module):
    def __init__(self, inplace=False):
        super().__init__()
        self.up, self.gate = nn.Linear(14, 20), nn.Linear(14, 20)
        self.inplace = inplace

    def forward(self, x):
        h, s = self.up(x), torch.sigmoid(self.gate(x))
        y = h * s
        if self.inplace:
            h.data.tanh_()
            side = h.detach()
        else:
            side = torch.tanh(h.detach())
        return y + 0.5 * side


def case(faulty: bool) -> dict:
    torch.manual_seed(309)
    reference, candidate = Gated(), Gated(faulty)
    candidate.load_state_dict(reference.state_dict())
    x = torch.randn(18, 14).requires_grad_()
    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
