# convolution in channels-last bf16 against unfold + matmul
import torch
from torch import nn


class Ref(nn.Module):
    def __init__(self, w, b):
        super().__init__()
        self.weight, self.bias = nn.Parameter(w.clone()), nn.Parameter(b.clone())

    def forward(self, x):
        n, c, h, w = x.shape
        cols = nn.functional.unfold(x, 3, padding=1)
        y = self.weight.reshape(self.weight.shape[0], -1) @ cols + self.bias[:, None]
        return torch.relu(y.reshape(n, -1, h, w))


class Cand(Ref):
    def forward(self, x):
        x = x.contiguous(memory_format=torch.channels_last)
        w = self.weight.contiguous(memory_format=torch.channels_last)
        return torch.relu(nn.functional.conv2d(x, w, self.bias, padding=1))


def case():
    gen = torch.Generator().manual_seed(108)
    w = (torch.randn(10, 6, 3, 3, generator=gen) / 54 ** 0.5).bfloat16()
    b = (torch.randn(10, generator=gen) * 0.1).bfloat16()
    x = torch.randn(2, 6, 13, 11, generator=gen).bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    return {"reference": Ref(w, b), "candidate": Cand(w, b), "inputs": (x,)}
