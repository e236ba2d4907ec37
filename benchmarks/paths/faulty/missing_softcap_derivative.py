# cause: missing-term
# size: 0.015
# dtype: bfloat16
# where: k.weight
# source: Gemma-2 logit soft-capping in flash-attention / unsloth: backward without 1 - tanh^2
# why: the derivative of cap*tanh(s/cap) is taken as one
import torch, torch.nn as nn

D, NH, CAP = 48, 4, 26.0


def up(t):
    return t if t.dtype == torch.float64 else t.float()


def attn(q, k, v, mask):
    s = q @ k.transpose(-1, -2) * (D // NH) ** -0.5
    s = CAP * torch.tanh(s / CAP)
    return s.masked_fill(mask, float("-inf")).softmax(-1) @ v


class CapAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, mask, faulty):
        u = up(q) @ up(k).transpose(-1, -2) * (D // NH) ** -0.5
        s = CAP * torch.tanh(u / CAP)
        z = s.masked_fill(mask, float("-inf"))
        lse = z.logsumexp(-1, keepdim=True)
        o = (z - lse).exp() @ up(v)
        ctx.save_for_backward(q, k, v, mask, lse, o)
        ctx.faulty = faulty
        return o.to(q.dtype)

    @staticmethod
    def backward(ctx, do):
        q, k, v, mask, lse, o = ctx.saved_tensors
        Q, K, V, g, sc = up(q), up(k), up(v), up(do), (D // NH) ** -0.5
        t = torch.tanh(Q @ K.transpose(-1, -2) * sc / CAP)
        p = ((CAP * t).masked_fill(mask, float("-inf")) - lse).exp()
        ds = p * (g @ V.transpose(-1, -2) - (g * o).sum(-1, keepdim=True))
        if not ctx.faulty:
            ds = ds * (1 - t * t)
        return ((ds @ K * sc).to(q.dtype), (ds.transpose(-1, -2) @ Q * sc).to(q.dtype),
                (p.transpose(-1, -2) @ g).to(q.dtype), None, None)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln = nn.LayerNorm(D)
        self.q, self.k, self.v, self.o = (nn.Linear(D, D, bias=False) for _ in range(4))

    def core(self, q, k, v, mask):
        return attn(q, k, v, mask)

    def forward(self, x):
        b, s, _ = x.shape
        h = self.ln(x)
        q, k, v = (f(h).view(b, s, NH, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        mask = torch.ones(s, s, dtype=torch.bool).triu(1)
        return x + self.o(self.core(q, k, v, mask).transpose(1, 2).reshape(b, s, D))


class FusedLayer(Layer):
    faulty = False

    def core(self, q, k, v, mask):
        return CapAttention.apply(q, k, v, mask, self.faulty)


def case(faulty):
    torch.manual_seed(8)
    ref, can = Layer(), FusedLayer()
    ref.q.weight.data.mul_(2.4)
    ref.k.weight.data.mul_(2.4)
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    x = torch.randn(3, 21, D).bfloat16().requires_grad_()
    return {"reference": ref.bfloat16(), "candidate": can.bfloat16(), "inputs": (x,)}
