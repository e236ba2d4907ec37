# bf16 autocast of a small convolutional net with batch norm and global pooling
import contextlib
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, amp):
        super().__init__()
        gen = torch.Generator().manual_seed(113)
        self.amp = amp
        self.c1, self.bn, self.c2 = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8, track_running_stats=False), nn.Conv2d(8, 12, 3)
        with torch.no_grad():
            for c in (self.c1, self.c2):
                c.weight.copy_(torch.randn(c.weight.shape, generator=gen) / c.weight[0].numel() ** 0.5)
            self.c2.bias.fill_(0.1)

    def forward(self, x):
        low = self.amp and x.dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16) if low else contextlib.nullcontext():
            y = self.c2(torch.nn.functional.silu(self.bn(self.c1(x))))
            return y.mean((2, 3)).to(x.dtype)


def case():
    gen = torch.Generator().manual_seed(114)
    x = torch.randn(4, 3, 14, 15, generator=gen).requires_grad_()
    return {"reference": Net(False), "candidate": Net(True), "inputs": (x,)}
