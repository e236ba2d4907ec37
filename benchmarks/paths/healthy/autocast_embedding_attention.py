# bf16 autocast of embedding + self-attention + output projection, tokens repeat
import contextlib
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, amp):
        super().__init__()
        gen = torch.Generator().manual_seed(117)
        self.amp = amp
        self.emb = nn.Parameter(torch.randn(29, 24, generator=gen))
        self.qkv = nn.Parameter(torch.randn(72, 24, generator=gen) / 24 ** 0.5)
        self.out = nn.Parameter(torch.randn(29, 24, generator=gen) / 24 ** 0.5)

    def forward(self, ids):
        low = self.amp and self.emb.dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16) if low else contextlib.nullcontext():
            x = torch.nn.functional.embedding(ids, self.emb)
            q, k, v = torch.nn.functional.linear(x, self.qkv).chunk(3, -1)
            if self.amp:
                a = torch.nn.functional.scaled_dot_product_attention(q, k, v)
            else:
                a = (q @ k.transpose(-1, -2) * 24 ** -0.5).softmax(-1) @ v
            return torch.nn.functional.linear(x + a.to(x.dtype), self.out).to(self.emb.dtype)


def case():
    gen = torch.Generator().manual_seed(118)
    ids = torch.randint(0, 29, (4, 35), generator=gen)
    return {"reference": Net(False), "candidate": Net(True), "inputs": (ids,)}
