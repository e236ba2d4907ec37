"""Set model without positions (order must not matter): masked attention pooling over sets of points, two
outputs: class of the set and its spread."""

import torch
import torch.nn as nn
import torch.nn.functional as F

N, D, C = 20, 48, 4


class SetNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.phi = nn.Sequential(nn.Linear(3, D), nn.ReLU(), nn.Linear(D, D))
        self.sab = nn.MultiheadAttention(D, 4, batch_first=True)
        self.norm = nn.LayerNorm(D)
        self.cls, self.spread = nn.Linear(D, C), nn.Linear(D, 1)

    def forward(self, x, mask):
        h = self.phi(x)
        h = self.norm(h + self.sab(h, h, h, key_padding_mask=~mask, need_weights=False)[0])
        g = h.masked_fill(~mask[..., None], float("-inf")).max(1).values
        return self.cls(g), self.spread(g).squeeze(-1)


def make(seed):
    torch.manual_seed(seed)
    B = 32
    y = torch.randint(0, C, (B,))
    n = torch.randint(6, N + 1, (B,))
    mask = torch.arange(N)[None] < n[:, None]
    s = 0.5 + torch.rand(B)
    centre = torch.randn(C, 3)[y]
    x = (centre[:, None] + s[:, None, None] * torch.randn(B, N, 3)) * mask[..., None]
    s = (s - s.mean()) / s.std()
    model = SetNet()

    def loss(out, t):
        return F.cross_entropy(out[0], t[0]) + F.mse_loss(out[1], t[1])

    return model, loss, ({"x": x, "mask": mask}, (y, s)), torch.optim.Adam(model.parameters(), lr=3e-3)
