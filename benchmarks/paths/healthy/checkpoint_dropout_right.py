# activation checkpointing with dropout and the random state preserved
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


class Block(nn.Module):
    def __init__(self, w1, w2):
        super().__init__()
        self.w1, self.w2 = nn.Parameter(w1.clone()), nn.Parameter(w2.clone())

    def body(self, x):
        h = torch.nn.functional.silu(x @ self.w1.t())
        h = h * (torch.rand(h.shape) >= 0.2).to(h.dtype) / 0.8
        return x + h @ self.w2.t()

    def forward(self, x):
        torch.manual_seed(5)
        return self.body(x)


class Ckpt(Block):
    def forward(self, x):
        torch.manual_seed(5)
        return checkpoint(self.body, x, use_reentrant=False)


def case():
    gen = torch.Generator().manual_seed(110)
    w1 = (torch.randn(60, 28, generator=gen) / 28 ** 0.5).bfloat16()
    w2 = (torch.randn(28, 60, generator=gen) / 60 ** 0.5).bfloat16()
    x = torch.randn(47, 28, generator=gen).bfloat16().requires_grad_()
    return {"reference": Block(w1, w2), "candidate": Ckpt(w1, w2), "inputs": (x,)}
