# LoRA: x (W + s B A)^T merged on the fly in bfloat16 against the two-path form; B is still small (1e-3)
import torch, torch.nn as nn, torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.w = nn.ParameterList([nn.Parameter(torch.randn(32, 32) / 6, requires_grad=False) for _ in range(3)])
        self.a = nn.ParameterList([nn.Parameter(torch.randn(4, 32) / 6) for _ in range(3)])
        self.b = nn.ParameterList([nn.Parameter(torch.randn(32, 4) * 1e-3) for _ in range(3)])

    def lin(self, x, i):
        return F.linear(x, self.w[i]) + F.linear(F.linear(x, self.a[i]), self.b[i]) * 4.0

    def forward(self, x):
        for i in range(3):
            x = x + torch.tanh(self.lin(x, i))
        return x


class Merged(Net):
    def lin(self, x, i):
        return F.linear(x, self.w[i] + 4.0 * (self.b[i] @ self.a[i]))


def case():
    torch.manual_seed(12)
    ref, can = Net(), Merged()
    can.load_state_dict(ref.state_dict())
    return {"reference": ref.bfloat16(), "candidate": can.bfloat16(),
            "inputs": (torch.randn(9, 7, 32).bfloat16().requires_grad_(),)}
