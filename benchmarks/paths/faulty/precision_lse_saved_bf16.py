# cause: precision
# size: 0.033
# dtype: bfloat16
# where: qkv.weight
# source: flash-attention style backward from a saved log-sum-exp; saving it in the activations' format
# why: the log-sum-exp (about 12) is stored in bfloat16, so the recomputed probabilities are off by up to 3 % a row
import torch, torch.nn as nn

NH = 3


def up(t):
    return t if t.dtype == torch.float64 else t.float()


class Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, scale, low):
        s = up(q) @ up(k).transpose(-1, -2) * scale
        lse = s.logsumexp(-1, keepdim=True)
        o = (s - lse).exp() @ up(v)
        ctx.save_for_backward(q, k, v, o, lse.bfloat16().to(lse.dtype) if low else lse)
        ctx.scale = scale
        return o.to(q.dtype)

    @staticmethod
    def backward(ctx, do):
        q, k, v, o, lse = ctx.saved_tensors
        g = up(do)
        p = (up(q) @ up(k).transpose(-1, -2) * ctx.scale - lse).exp()
        ds = p * (g @ up(v).transpose(-1, -2) - (g * o).sum(-1, keepdim=True)) * ctx.scale
        return ((ds @ up(k)).to(q.dtype), (ds.transpose(-1, -2) @ up(q)).to(q.dtype),
                (p.transpose(-1, -2) @ g).to(v.dtype), None, None)


class Pool(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = nn.Linear(27, 81)
        self.out = nn.Linear(27, 13)

    def core(self, q, k, v):
        return (q @ k.transpose(-1, -2)).softmax(-1) @ v

    def forward(self, x):
        b, s, d = x.shape
        q, k, v = self.qkv(x).view(b, s, 3, NH, d // NH).permute(2, 0, 3, 1, 4)
        return self.out(self.core(q, k, v).transpose(1, 2).reshape(b, s, d))


class FastPool(Pool):
    faulty = False

    def core(self, q, k, v):
        return Attention.apply(q, k, v, 1.0, self.faulty)


def case(faulty):
    torch.manual_seed(29)
    ref, can = Pool(), FastPool()
    ref.qkv.weight.data.mul_(3.2)
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    x = torch.randn(3, 26, 27).bfloat16().requires_grad_()
    return {"reference": ref.bfloat16(), "candidate": can.bfloat16(), "inputs": (x,)}
