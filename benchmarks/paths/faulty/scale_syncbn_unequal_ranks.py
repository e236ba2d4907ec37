# cause: scale
# size: 0.012
# dtype: float16
# where: 0
# source: apex / PyTorch SyncBatchNorm with unequal batch sizes per rank (count = world size * local batch)
# why: the two mean terms in dx are divided by world_size * first rank's count instead of the real total
import torch, torch.nn as nn, torch.nn.functional as F


def up(t):
    return t if t.dtype == torch.float64 else t.float()


class SyncBN(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, sizes, faulty):
        xs = up(x).split(sizes)
        n = sum(t.numel() // t.shape[1] for t in xs)
        mean = sum(t.sum((0, 2, 3)) for t in xs) / n
        var = sum((t - mean[:, None, None]).square().sum((0, 2, 3)) for t in xs) / n
        inv = torch.rsqrt(var + 1e-5)
        ctx.save_for_backward(x, w, mean, inv)
        ctx.sizes, ctx.faulty, ctx.n = sizes, faulty, n
        c = lambda t: t[:, None, None]
        return ((up(x) - c(mean)) * c(inv) * c(up(w)) + c(up(b))).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        x, w, mean, inv = ctx.saved_tensors
        c = lambda t: t[:, None, None]
        g, hat = up(dy), (up(x) - c(mean)) * c(inv)
        db = sum(t.sum((0, 2, 3)) for t in g.split(ctx.sizes))
        dw = sum((a * h).sum((0, 2, 3)) for a, h in zip(g.split(ctx.sizes), hat.split(ctx.sizes)))
        n = ctx.n
        if ctx.faulty:
            n = len(ctx.sizes) * ctx.sizes[0] * x.shape[2] * x.shape[3]
        dx = c(inv * up(w)) * (g - c(db / n) - hat * c(dw / n))
        return dx.to(x.dtype), dw.to(w.dtype), db.to(w.dtype), None, None


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.rand(9) + 0.5)
        self.bias = nn.Parameter(torch.randn(9) * 0.2)

    def norm(self, x):
        return F.batch_norm(x, None, None, self.weight, self.bias, True)

    def forward(self, x):
        y = F.relu(self.norm(x))
        return y, F.avg_pool2d(y, 2)


class SyncNet(Net):
    faulty = False

    def norm(self, x):
        return SyncBN.apply(x, self.weight, self.bias, (10, 7, 6), self.faulty)


def case(faulty):
    torch.manual_seed(5)
    ref, can = Net(), SyncNet()
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    x = (torch.randn(23, 9, 5, 6) * 1.4 + 0.2).half().requires_grad_()
    return {"reference": ref.half(), "candidate": can.half(), "inputs": (x,)}
