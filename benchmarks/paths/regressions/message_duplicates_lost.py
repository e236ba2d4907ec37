# cause: missing-term
# size: 0.78
# dtype: float32
# where: input 0 (x), the nodes that send over more than one edge; the edge weights' gradient is right
# source: pytorch/pytorch issue 1528 and issue 1631
# why: the gather's gradient is written by node, not added; of a node's edges only the last counts
import torch


class Messages(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, source, target, faulty):
        ctx.save_for_backward(x, weight, source, target)
        ctx.faulty = faulty
        return torch.zeros_like(x).index_add_(0, target, x[source] * weight[:, None])

    @staticmethod
    def backward(ctx, g):
        x, weight, source, target = ctx.saved_tensors
        per_edge = g[target] * weight[:, None]
        dx = torch.zeros_like(x)
        if ctx.faulty:
            dx[source] = per_edge
        else:
            dx.index_add_(0, source, per_edge)
        return dx, (g[target] * x[source]).sum(-1), None, None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(311)
    x = torch.randn(20, 9, generator=gen).requires_grad_()
    weight = torch.rand(50, generator=gen).requires_grad_()
    source, target = (torch.randint(0, 20, (50,), generator=gen) for _ in range(2))

    def reference(x, weight, source, target):
        n = torch.arange(x.shape[0])
        give, take = (n == source[:, None]).to(x.dtype), (n[:, None] == target).to(x.dtype)
        return take @ ((give @ x) * weight[:, None])

    def candidate(x, weight, source, target):
        return Messages.apply(x, weight, source, target, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, weight, source, target)}
