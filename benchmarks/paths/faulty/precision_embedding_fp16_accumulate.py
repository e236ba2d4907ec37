# cause: precision
# size: 0.095
# dtype: float16
# where: tok.weight
# source: embedding / index_add gradients accumulated in half precision (PyTorch embedding_dense_backward, apex O2)
# why: the rows of a six-word table are summed one token after another in float16 and stop growing
import torch, torch.nn as nn, torch.nn.functional as F


class HalfEmbedding(torch.autograd.Function):
    @staticmethod
    def forward(ctx, ids, w, low):
        ctx.save_for_backward(ids)
        ctx.shape, ctx.low = w.shape, low
        return w[ids]

    @staticmethod
    def backward(ctx, dy):
        (ids,) = ctx.saved_tensors
        acc = torch.float16 if ctx.low else torch.float64
        dw = torch.zeros(ctx.shape, dtype=acc)
        for i, row in zip(ids.flatten().tolist(), dy.reshape(-1, dy.shape[-1]).to(acc)):
            dw[i] += row
        return None, dw.to(dy.dtype), None


class Scorer(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok = nn.Embedding(6, 8)
        self.bias = nn.Parameter(torch.full((8,), 0.5))

    def embed(self, ids):
        return self.tok.weight.double()[ids].to(self.tok.weight.dtype)

    def forward(self, ids, x):
        e = F.softplus(self.embed(ids) + x)
        return ((e * (self.bias + 1)).flatten(0, 1).double().sum(0) / 16).to(x.dtype), e[:3]


class HalfScorer(Scorer):
    low = False

    def embed(self, ids):
        return HalfEmbedding.apply(ids, self.tok.weight, self.low)


def case(faulty):
    torch.manual_seed(30)
    ref, can = Scorer(), HalfScorer()
    can.load_state_dict(ref.state_dict())
    can.low = faulty
    ids = torch.randint(0, 6, (75, 81)).clamp(max=5)
    ids[torch.rand(ids.shape) < 0.5] = 2
    return {"reference": ref.half(), "candidate": can.half(), "inputs": (ids, torch.randn(75, 81, 8).half())}
