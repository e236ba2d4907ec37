# QAT style: frozen batch norm folded into the convolution's weight (differentiably) against conv then norm, bfloat16; relu6 kinks flip for some elements
import torch, torch.nn as nn, torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(3, 11, 3, padding=1, bias=False), nn.Conv2d(11, 5, 3, bias=False)
        self.bn = nn.BatchNorm2d(11)
        self.bn.running_mean.normal_(0, 0.3)
        self.bn.running_var.uniform_(0.2, 2.0)
        self.bn.weight.data.uniform_(0.3, 1.5)

    def mid(self, x):
        b = self.bn
        return F.batch_norm(self.c1(x), b.running_mean, b.running_var, b.weight, b.bias, False)

    def forward(self, x):
        return self.c2(F.relu6(self.mid(x)))


class FoldedNet(Net):
    def mid(self, x):
        b = self.bn
        s = b.weight * torch.rsqrt(b.running_var + b.eps)
        return F.conv2d(x, self.c1.weight * s[:, None, None, None], b.bias - b.running_mean * s, padding=1)


def case():
    torch.manual_seed(4)
    ref, can = Net(), FoldedNet()
    can.load_state_dict(ref.state_dict())
    x = torch.randn(3, 3, 12, 9).bfloat16().requires_grad_()
    return {"reference": ref.bfloat16(), "candidate": can.bfloat16(), "inputs": (x,)}
