"""https://github.com/microsoft/ProDA/issues/20 (2021): F.kl_div is given the student's softmax where it expects log-probabilities; dense distillation."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "microsoft/ProDA#20"
KIND = "range"
STEPS = 200
C = 5


class Student(nn.Module):
    def __init__(self, c=20):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(3, c, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(c, c, 3, padding=2, dilation=2),
            nn.ReLU(),
            nn.Conv2d(c, C, 1),
        )

    def forward(self, img):
        return self.net(img)


def data(seed, n=32, S=12):
    g = torch.Generator().manual_seed(seed)
    x = torch.randn(n, 3, S, S, generator=g)
    x = x + F.avg_pool2d(F.pad(x, (2, 2, 2, 2)), 5, 1) * 4
    x = (x - x.mean()) / x.std()
    k = torch.randn(C, 3, 3, 3, generator=torch.Generator().manual_seed(3))
    teacher = F.conv2d(F.pad(x, (1, 1, 1, 1)), k) * 0.8
    return x, teacher.softmax(1)


def make(seed, fixed):
    torch.manual_seed(seed)
    m = Student()

    def loss(out, teacher):
        student = out.log_softmax(1) if fixed else out.softmax(1)
        return F.kl_div(student, teacher, reduction="none").sum(1).mean()

    return m, loss, data(1), torch.optim.Adam(m.parameters(), 3e-3)
