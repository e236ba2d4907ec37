# cause: padding
# size: 0.66
# dtype: float32
# where: the parameter weight, the padding row alone
# source: pytorch/pytorch issue 28716 and issue 26302
# why: above 768 indices another kernel sums the gradient, and that one does not leave the padding row out
import torch
from torch import nn


class Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx, weight, index, padding, faulty):
        ctx.save_for_backward(index)
        ctx.shape, ctx.padding, ctx.faulty = weight.shape, padding, faulty
        return weight[index]

    @staticmethod
    def backward(ctx, g):
        index, = ctx.saved_tensors
        d = g.new_zeros(ctx.shape)
        d.index_add_(0, index.flatten(), g.reshape(-1, ctx.shape[1]))
        if not (ctx.faulty and index.numel() > 768):
            d[ctx.padding] = 0
        return d, None, None, None


class Embed(nn.Module):
    def __init__(self, own, faulty=False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(60, 8))
        self.own, self.faulty = own, faulty

    def forward(self, index):
        if self.own:
            return Lookup.apply(self.weight, index, 0, self.faulty)
        return torch.nn.functional.embedding(index, self.weight, padding_idx=0)


def case(faulty: bool) -> dict:
    torch.manual_seed(308)
    reference, candidate = Embed(False), Embed(True, faulty)
    candidate.load_state_dict(reference.state_dict())
    index = torch.randint(0, 60, (9, 100))
    index[:, 70:] = 0
    return {"reference": reference, "candidate": candidate, "inputs": (index,)}
