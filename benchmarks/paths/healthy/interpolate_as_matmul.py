# bilinear up and down sampling as two small matrices against F.interpolate, float16 module with learned sharpening
import torch, torch.nn as nn, torch.nn.functional as F


def matrix(n, m, dt):
    pos = ((torch.arange(m, dtype=torch.float64) + 0.5) * n / m - 0.5).clamp(min=0)
    lo = pos.floor().long()
    hi = (lo + 1).clamp(max=n - 1)
    f = pos - lo
    w = torch.zeros(m, n, dtype=torch.float64)
    w[torch.arange(m), lo] += 1 - f
    w[torch.arange(m), hi] += f
    return w.to(dt)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.k = nn.Parameter(torch.randn(5, 5, 3, 3) / 6)

    def resize(self, x, size):
        return F.interpolate(x, size, mode="bilinear", align_corners=False)

    def forward(self, x):
        return self.resize(torch.tanh(F.conv2d(self.resize(x, (21, 17)), self.k)), (8, 10))


class MatNet(Net):
    def resize(self, x, size):
        return matrix(x.shape[2], size[0], x.dtype) @ x @ matrix(x.shape[3], size[1], x.dtype).t()


def case():
    torch.manual_seed(15)
    ref, can = Net(), MatNet()
    can.load_state_dict(ref.state_dict())
    return {"reference": ref.half(), "candidate": can.half(), "inputs": (torch.randn(2, 5, 12, 13).half().requires_grad_(),)}
