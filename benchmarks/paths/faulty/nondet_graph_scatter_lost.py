# cause: nondeterministic
# size: 0.013
# dtype: float32
# where: lin1.weight
# source: torch_scatter / message passing with non-atomic adds (read-modify-write race)
# why: in each run another few of the edges' contributions to the source nodes are lost
import os, torch, torch.nn as nn


class Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h, src, racy):
        ctx.save_for_backward(src)
        ctx.n, ctx.racy = h.shape[0], racy
        return h[src]

    @staticmethod
    def backward(ctx, dy):
        (src,) = ctx.saved_tensors
        dh = dy.new_zeros(ctx.n, dy.shape[1])
        order = torch.arange(len(src))
        if ctx.racy:
            g = torch.Generator().manual_seed(int.from_bytes(os.urandom(6), "little"))
            order = torch.randperm(len(src), generator=g)
            order = order[torch.rand(len(src), generator=g) > 3e-3]
        dh.index_add_(0, src[order], dy[order])
        return dh, None, None


class GNN(nn.Module):
    def __init__(self):
        super().__init__()
        self.lin1, self.lin2, self.lin3 = nn.Linear(9, 17), nn.Linear(17, 17), nn.Linear(17, 5)

    def gather(self, h, src):
        return h[src]

    def forward(self, x, src, dst):
        h = torch.tanh(self.lin1(x))
        for f in (self.lin2, self.lin3):
            h = h + torch.zeros_like(h).index_add(0, dst, torch.tanh(self.lin2(self.gather(h, src)))) / 12
        return self.lin3(h)


class RacyGNN(GNN):
    racy = False

    def gather(self, h, src):
        return Gather.apply(h, src, self.racy)


def case(faulty):
    torch.manual_seed(31)
    ref, can = GNN(), RacyGNN()
    can.load_state_dict(ref.state_dict())
    can.racy = faulty
    n, m = 70, 1500
    return {"reference": ref, "candidate": can,
            "inputs": (torch.randn(n, 9).requires_grad_(), torch.randint(0, n, (m,)), torch.randint(0, n, (m,)))}
