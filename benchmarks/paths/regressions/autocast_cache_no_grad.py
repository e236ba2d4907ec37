# cause: missing-term
# size: 1
# dtype: bfloat16
# where: the parameter weight alone (no gradient at all)
# source: pytorch/pytorch issue 112583 and issue 158232 (pull 165068)
# why: a first pass under no_grad fills the cache of cast weights; the pass with gradients takes the cast without a graph
import torch
from torch import nn


class SelfConditioned(nn.Module):
    """A first pass without gradients, whose answer feeds the second; weights are cast to the input's dtype."""

    def __init__(self, cached):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(16, 16) * 0.25)
        self.bias = nn.Parameter(torch.randn(16))
        self.cached = cached

    def layer(self, x, cache):
        w = cache.get("weight")
        if w is None:
            w = self.weight.to(x.dtype, copy=True)
            if self.cached:
                cache["weight"] = w
        return torch.tanh(torch.nn.functional.linear(x, w, self.bias.to(x.dtype)))

    def forward(self, x):
        cache = {}
        with torch.no_grad():
            guess = self.layer(x, cache)
        return self.layer(x + 0.5 * guess, cache)


def case(faulty: bool) -> dict:
    torch.manual_seed(307)
    reference, candidate = SelfConditioned(False), SelfConditioned(faulty)
    candidate.load_state_dict(reference.state_dict())
    x = torch.randn(20, 16).bfloat16().requires_grad_()
    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
