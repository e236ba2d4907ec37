"""https://github.com/myscience/open-genie/issues/6 (2025): perceptual loss records the features detached, so it cannot move the generator."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "myscience/open-genie#6"
KIND = "terms"
STEPS = 200


class Restore(nn.Module):
    def __init__(self, c=24):
        super().__init__()
        self.a, self.b, self.c, self.d = (
            nn.Conv2d(1, c, 3, padding=1),
            nn.Conv2d(c, 2 * c, 3, 2, 1),
            nn.Conv2d(2 * c, c, 3, padding=1),
            nn.Conv2d(2 * c, 1, 3, padding=1),
        )

    def forward(self, x):
        a = F.relu(self.a(x))
        b = F.interpolate(F.relu(self.c(F.relu(self.b(a)))), scale_factor=2.0)
        return self.d(torch.cat([a, b], 1))


class Probe:
    """frozen feature net whose hook stores activations"""

    def __init__(self, keep_graph):
        g = torch.Generator().manual_seed(11)
        self.keep = keep_graph
        self.net = nn.Sequential(
            nn.Conv2d(1, 12, 3, padding=1), nn.ReLU(), nn.Conv2d(12, 12, 3, 2, 1), nn.ReLU()
        ).requires_grad_(False)
        for p in self.net.parameters():
            p.copy_(
                torch.randn(p.shape, generator=g) * (2 / max(1, p[0].numel())) ** 0.5
                if p.dim() > 1
                else torch.zeros(p.shape)
            )
        self.rec = []
        for i in (1, 3):
            self.net[i].register_forward_hook(lambda _, __, out: self.rec.append(out if self.keep else out.detach()))

    def __call__(self, x):
        self.rec = []
        self.net(x)
        return self.rec


def data(seed, n=48, S=16):
    g = torch.Generator().manual_seed(seed)
    k = torch.randn(n, 1, S, S, generator=g)
    clean = F.avg_pool2d(F.pad(k, (2, 2, 2, 2), mode="circular"), 5, 1)
    clean = (clean / clean.std()).sign() * 0.7 + 0.3 * clean / clean.std()
    return clean + 0.6 * torch.randn(clean.shape, generator=g), clean


def make(seed, fixed):
    torch.manual_seed(seed)
    m = Restore()
    probe = Probe(fixed)

    def loss(out, target):
        perc = sum(F.l1_loss(a, b) for a, b in zip(probe(out), [f.detach() for f in probe(target)]))
        return F.l1_loss(out, target) + 0.5 * perc

    return m, loss, data(1), torch.optim.Adam(m.parameters(), 2e-3)
