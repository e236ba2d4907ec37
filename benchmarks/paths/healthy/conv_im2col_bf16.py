# convolutions as unfold + matmul (other order of sums, strided and dilated) against conv2d, bfloat16 module
import torch, torch.nn as nn, torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.c1, self.c2 = nn.Conv2d(4, 13, 3, stride=2, padding=1), nn.Conv2d(13, 9, 3, dilation=2, padding=2)
        self.gn = nn.GroupNorm(3, 9)

    def conv(self, m, x):
        return m(x)

    def forward(self, x):
        return self.gn(self.conv(self.c2, F.leaky_relu(self.conv(self.c1, x), 0.1)))


class Im2colNet(Net):
    def conv(self, m, x):
        u = F.unfold(x, m.kernel_size, m.dilation, m.padding, m.stride)
        h = (x.shape[2] + 2 * m.padding[0] - m.dilation[0] * 2 - 1) // m.stride[0] + 1
        return (m.weight.flatten(1) @ u + m.bias[:, None]).unflatten(-1, (h, -1))


def case():
    torch.manual_seed(11)
    ref, can = Net(), Im2colNet()
    can.load_state_dict(ref.state_dict())
    return {"reference": ref.bfloat16(), "candidate": can.bfloat16(),
            "inputs": (torch.randn(3, 4, 15, 11).bfloat16().requires_grad_(),)}
