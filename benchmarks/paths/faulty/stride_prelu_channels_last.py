# cause: stride
# size: 0.91
# dtype: bfloat16
# where: slope
# source: PyTorch channels-last kernels (PReLU / per-channel gradients with memory_format=channels_last)
# why: the per-channel slope's gradient walks the storage as if it were NCHW although the conv gives NHWC
import torch, torch.nn as nn, torch.nn.functional as F


class PReLU(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, a, faulty):
        ctx.save_for_backward(x, a)
        ctx.faulty = faulty
        return torch.where(x > 0, x, x * a[:, None, None])

    @staticmethod
    def backward(ctx, dy):
        x, a = ctx.saved_tensors
        neg = x <= 0
        part = dy * x * neg
        if ctx.faulty and not part.is_contiguous():
            n, c, h, w = part.shape
            part = torch.as_strided(part, (n, c, h, w), (c * h * w, h * w, w, 1))
        da = part.double().sum((0, 2, 3)).to(a.dtype)
        return torch.where(neg, dy * a[:, None, None], dy), da, None


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1 = nn.Conv2d(3, 10, 3, padding=1)
        self.slope = nn.Parameter(torch.rand(10) * 0.4)
        self.c2 = nn.Conv2d(10, 6, 3, stride=2)

    def act(self, x):
        return F.prelu(x, self.slope)

    def forward(self, x):
        y = self.c2(self.act(self.c1(x)))
        return y, y.mean((2, 3))


class FusedNet(Net):
    faulty = False

    def act(self, x):
        return PReLU.apply(x, self.slope, self.faulty)


def case(faulty):
    torch.manual_seed(22)
    ref, can = Net(), FusedNet()
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    x = torch.randn(4, 3, 13, 11).bfloat16().contiguous(memory_format=torch.channels_last).requires_grad_()
    return {"reference": ref.bfloat16(), "candidate": can.bfloat16().to(memory_format=torch.channels_last), "inputs": (x,)}
