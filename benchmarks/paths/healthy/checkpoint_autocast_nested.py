# float32 without checkpoint against float16 autocast with two nested checkpoints, dropout mask from a generator seeded in forward
import torch, torch.nn as nn, torch.nn.functional as F
from torch.utils.checkpoint import checkpoint


class Net(nn.Module):
    ckpt = False

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(19, 41), nn.Linear(41, 41), nn.Linear(41, 6)
        self.ln = nn.LayerNorm(41)

    def inner(self, h):
        g = torch.Generator().manual_seed(99)
        keep = (torch.rand(h.shape, generator=g) > 0.2).to(h.dtype) / 0.8
        return h + F.gelu(self.b(self.ln(h))) * keep

    def outer(self, h):
        if self.ckpt:
            h = checkpoint(self.inner, h, use_reentrant=False)
        else:
            h = self.inner(h)
        return torch.tanh(h)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.float16, enabled=self.ckpt):
            h = self.a(x)
            h = checkpoint(self.outer, h, use_reentrant=False) if self.ckpt else self.outer(h)
            return self.c(h)


def case():
    torch.manual_seed(9)
    ref, can = Net(), Net()
    can.load_state_dict(ref.state_dict())
    can.ckpt = True
    return {"reference": ref, "candidate": can, "inputs": (torch.randn(7, 9, 19).requires_grad_(),)}
