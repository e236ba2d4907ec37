# bf16 autocast of a hand-written LSTM over 30 steps: rounding accumulates through the recurrence
import contextlib
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, amp):
        super().__init__()
        gen = torch.Generator().manual_seed(115)
        self.amp = amp
        self.wi = nn.Parameter(torch.randn(4 * 17, 12, generator=gen) / 12 ** 0.5)
        self.wh = nn.Parameter(torch.randn(4 * 17, 17, generator=gen) / 17 ** 0.5)
        self.b = nn.Parameter(torch.randn(4 * 17, generator=gen) * 0.1)

    def forward(self, x):
        low = self.amp and x.dtype == torch.float32
        with torch.autocast("cpu", torch.bfloat16) if low else contextlib.nullcontext():
            h = c = torch.zeros(x.shape[0], 17, dtype=x.dtype)
            out = []
            for t in range(x.shape[1]):
                z = torch.nn.functional.linear(x[:, t], self.wi, self.b) + torch.nn.functional.linear(h, self.wh)
                i, f, g, o = z.chunk(4, -1)
                c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
                h = torch.sigmoid(o) * torch.tanh(c)
                out.append(h)
            return torch.stack(out, 1).to(x.dtype)


def case():
    gen = torch.Generator().manual_seed(116)
    x = torch.randn(5, 30, 12, generator=gen).requires_grad_()
    return {"reference": Net(False), "candidate": Net(True), "inputs": (x,)}
