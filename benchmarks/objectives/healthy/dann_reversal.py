import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.autograd import Function
import wellposed as wp


class ReverseLayerF(Function):
    @staticmethod
    def forward(ctx, x, alpha):
        ctx.alpha = alpha
        return x.view_as(x)

    @staticmethod
    def backward(ctx, grad_output):
        return grad_output.neg() * ctx.alpha, None


class DANN(nn.Module):
    def __init__(self):
        super().__init__()
        self.feature = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 16), nn.ReLU())
        self.class_classifier = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 3))
        self.domain_classifier = nn.Sequential(nn.Linear(16, 16), nn.ReLU(), nn.Linear(16, 2))

    def forward(self, inp, alpha=0.5):
        src, tgt = inp
        fs, ft = self.feature(src), self.feature(tgt)
        dom = torch.cat([ReverseLayerF.apply(fs, alpha), ReverseLayerF.apply(ft, alpha)])
        return self.class_classifier(fs), self.domain_classifier(dom)


def problem():
    torch.manual_seed(0)
    c = torch.randn(3, 8) * 2
    y = torch.randint(0, 3, (90,))
    src = c[y] + torch.randn(90, 8)
    tgt = c[torch.randint(0, 3, (90,))] + 0.7 + torch.randn(90, 8)
    dom = torch.cat([torch.zeros(90), torch.ones(90)]).long()

    def loss(out, target):
        return F.cross_entropy(out[0], target[0]) + F.cross_entropy(out[1], target[1])

    m = DANN()
    return wp.TorchProblem(m, loss, (((src, tgt),), (y, dom)), optimizer=torch.optim.Adam(m.parameters(), lr=1e-3))
