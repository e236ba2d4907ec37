# cause: in-place
# size: 1
# dtype: bfloat16
# where: g1
# source: vLLM / Liger fused_add_rms_norm: the residual is written into the buffer that the norm before has saved
# why: the second add writes into the residual by .data, which the first RMSNorm saved for its backward
import torch, torch.nn as nn, torch.nn.functional as F

D = 38


def up(t):
    return t if t.dtype == torch.float64 else t.float()


class RMS(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, g):
        r = torch.rsqrt(up(x).square().mean(-1, keepdim=True) + 1e-6)
        ctx.save_for_backward(x, g, r)
        return (up(x) * r * up(g)).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        x, g, r = ctx.saved_tensors
        hat, d = up(x) * r, up(dy)
        dh = d * up(g)
        return (r * (dh - hat * (dh * hat).mean(-1, keepdim=True))).to(x.dtype), (d * hat).sum((0, 1)).to(g.dtype)


class AddInto(torch.autograd.Function):
    @staticmethod
    def forward(ctx, res, h, into):
        if into:
            res.data.add_(h)
            return res.detach().view_as(res)
        return res + h

    @staticmethod
    def backward(ctx, dy):
        return dy, dy, None


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(40, D)
        self.g1, self.g2 = (nn.Parameter(torch.rand(D) + 0.5) for _ in range(2))
        self.f1, self.f2 = nn.Linear(D, D), nn.Linear(D, 11)

    def norm(self, x, g):
        return F.rms_norm(x, (D,), g, 1e-6)

    def add(self, res, h):
        return res + h

    def forward(self, ids):
        res = self.emb(ids) * 0.7
        h = torch.tanh(self.f1(self.norm(res, self.g1)))
        res = self.add(res, h)
        return self.f2(self.norm(res, self.g2))


class FusedNet(Net):
    faulty = False

    def norm(self, x, g):
        return RMS.apply(x, g)

    def add(self, res, h):
        return AddInto.apply(res, h, self.faulty)


def case(faulty):
    torch.manual_seed(35)
    ref, can = Net(), FusedNet()
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    return {"reference": ref.bfloat16(), "candidate": can.bfloat16(), "inputs": (torch.randint(0, 40, (5, 18)),)}
