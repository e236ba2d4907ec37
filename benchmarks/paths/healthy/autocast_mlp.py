# bf16 autocast of Linear + LayerNorm + softmax against float32
import contextlib
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, amp):
        super().__init__()
        gen = torch.Generator().manual_seed(111)
        self.amp = amp
        self.fc1, self.ln, self.fc2 = nn.Linear(30, 64), nn.LayerNorm(64), nn.Linear(64, 21)
        with torch.no_grad():
            for p in self.parameters():
                if p.dim() == 2:
                    p.copy_(torch.randn(p.shape, generator=gen) / p.shape[1] ** 0.5)
            self.ln.weight.fill_(1)
            self.fc1.bias.fill_(0.05)
            self.fc2.bias.fill_(-0.05)

    def forward(self, x):
        low = self.amp and x.dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16) if low else contextlib.nullcontext():
            return self.fc2(torch.nn.functional.gelu(self.ln(self.fc1(x)))).softmax(-1).to(x.dtype)


def case():
    gen = torch.Generator().manual_seed(112)
    x = torch.randn(83, 30, generator=gen).requires_grad_()
    return {"reference": Net(False), "candidate": Net(True), "inputs": (x,)}
