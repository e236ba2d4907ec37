# cause: precision
# size: inf (nan)
# dtype: float32
# where: input 0 (x), rows that are all -inf (nan, where 0 is wanted)
# source: pytorch/pytorch issue 31829 (pytorch/pytorch issue 49724)
# why: the backward takes exp(x - lse), and -inf - -inf is nan
import torch


class LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, faulty):
        y = torch.logsumexp(x, -1)
        ctx.save_for_backward(x, y)
        ctx.faulty = faulty
        return y

    @staticmethod
    def backward(ctx, g):
        x, y = ctx.saved_tensors
        if not ctx.faulty:
            y = torch.where(y == float("-inf"), torch.zeros_like(y), y)
        return g[..., None] * torch.exp(x - y[..., None]), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(313)
    x = torch.randn(16, 12, generator=gen)
    x[torch.rand(16, 12, generator=gen) < 0.3] = float("-inf")
    x[4] = float("-inf")

    def reference(x):
        empty = (x == float("-inf")).all(-1, keepdim=True)
        y = torch.logsumexp(torch.where(empty, torch.zeros_like(x), x), -1)
        return torch.where(empty[..., 0], torch.full_like(y, float("-inf")), y)

    def candidate(x):
        return LogSumExp.apply(x, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x.requires_grad_(),)}
