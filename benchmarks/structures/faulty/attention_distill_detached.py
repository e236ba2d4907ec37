"""https://github.com/bboylyg/NAD/issues/8 (2022): neural attention distillation calls detach() on the attention losses before backward; only cross-entropy trains the student."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "bboylyg/NAD#8"
KIND = "terms"
STEPS = 80


class AT(nn.Module):
    def __init__(self, p=2):
        super().__init__()
        self.p = p

    def attention_map(self, fm, eps=1e-6):
        am = fm.abs().pow(self.p).sum(1, keepdim=True)
        return am / (am.flatten(1).norm(dim=1).view(-1, 1, 1, 1) + eps)

    def forward(self, s, t):
        return F.mse_loss(self.attention_map(s), self.attention_map(t))


class Basic(nn.Module):
    def __init__(self, i, o, stride):
        super().__init__()
        self.bn1, self.c1, self.bn2, self.c2 = (
            nn.BatchNorm2d(i),
            nn.Conv2d(i, o, 3, stride, 1, bias=False),
            nn.BatchNorm2d(o),
            nn.Conv2d(o, o, 3, 1, 1, bias=False),
        )
        self.sc = nn.Conv2d(i, o, 1, stride, bias=False) if stride > 1 or i != o else nn.Identity()

    def forward(self, x):
        return self.sc(x) + self.c2(F.relu(self.bn2(self.c1(F.relu(self.bn1(x))))))


class MiniWRN(nn.Module):
    def __init__(self, n_cls=4):
        super().__init__()
        self.stem, self.b1, self.b2, self.b3 = (
            nn.Conv2d(3, 8, 3, 1, 1),
            Basic(8, 12, 1),
            Basic(12, 20, 2),
            Basic(20, 28, 2),
        )
        self.bn, self.fc = nn.BatchNorm2d(28), nn.Linear(28, n_cls)

    def forward(self, x):
        a1 = self.b1(self.stem(x))
        a2 = self.b2(a1)
        a3 = self.b3(a2)
        return a1, a2, a3, self.fc(F.relu(self.bn(a3)).mean((2, 3)))


def images(seed, n=32, S=16):
    g = torch.Generator().manual_seed(seed)
    y = torch.randint(0, 4, (n,), generator=g)
    u = torch.arange(S) * 0.8
    base = torch.stack(
        [u.sin()[:, None].expand(S, S), u.sin().expand(S, S), (u[:, None] + u).sin(), (u[:, None] - u).sin()]
    )
    x = base[y][:, None] * (1 + 0.3 * torch.randn(n, 3, 1, 1, generator=g)) + torch.randn(n, 3, S, S, generator=g)
    return (x - x.mean()) / x.std(), y


def make(seed, fixed):
    torch.manual_seed(seed)
    x, y = images(seed + 1)
    teacher = MiniWRN()
    opt = torch.optim.Adam(teacher.parameters(), 3e-3)
    for _ in range(15):
        opt.zero_grad()
        F.cross_entropy(teacher(x)[3], y).backward()
        opt.step()
    teacher.eval().requires_grad_(False)
    with torch.no_grad():
        t1, t2, t3, _ = teacher(x)
    student, at, betas = MiniWRN(), AT(), (500.0, 500.0, 1000.0)

    def loss(out, y):
        s1, s2, s3, logit = out
        parts = [at(s, t) * b for s, t, b in zip((s1, s2, s3), (t1, t2, t3), betas)]
        if not fixed:
            parts = [p.detach() for p in parts]
        return F.cross_entropy(logit, y) + sum(parts)

    return student, loss, (x, y), torch.optim.Adam(student.parameters(), 2e-3)
