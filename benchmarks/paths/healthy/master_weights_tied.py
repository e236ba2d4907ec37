# float32 master weights cast to bf16 in every forward; the embedding is tied to the output projection
import torch
from torch import nn


class Ref(nn.Module):
    def __init__(self, e, w):
        super().__init__()
        self.embed, self.weight = nn.Parameter(e.clone()), nn.Parameter(w.clone())

    def forward(self, ids, x):
        h = torch.nn.functional.embedding(ids, self.embed) + x.to(self.embed.dtype)
        return torch.tanh(h @ self.weight.t()) @ self.embed.t()


class Cand(Ref):
    def forward(self, ids, x):
        low = x.dtype
        e, w = self.embed.to(low), self.weight.to(low)
        h = torch.nn.functional.embedding(ids, e) + x
        return torch.nn.functional.linear(torch.tanh(torch.nn.functional.linear(h, w)), e)


def case():
    gen = torch.Generator().manual_seed(142)
    e = torch.randn(43, 24, generator=gen) / 24 ** 0.5
    w = torch.randn(24, 24, generator=gen) / 24 ** 0.5
    ids = torch.randint(0, 43, (4, 26), generator=gen)
    x = torch.randn(4, 26, 24, generator=gen).bfloat16().requires_grad_()
    return {"reference": Ref(e, w), "candidate": Cand(e, w), "inputs": (ids, x)}
