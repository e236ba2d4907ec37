"""https://github.com/theislab/CellFlow/issues/226 (2025): in TokenAttentionPooling the mask changes nothing: the class token attends to every payload token, padding rows as well."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "theislab/CellFlow#226"
KIND = "padding"
STEPS = 150


class TokenAttentionPooling(nn.Module):
    def __init__(self, d, heads, use_mask):
        super().__init__()
        self.use_mask = use_mask
        self.class_token = nn.Parameter(0.1 * torch.randn(1, 1, d))
        self.attn = nn.MultiheadAttention(d, heads, batch_first=True)

    def forward(self, conds, present):
        """conds (B, n, d), present (B, n) True for real perturbations"""
        z = torch.cat([self.class_token.expand(len(conds), -1, -1), conds], 1)
        ignore = None
        if self.use_mask:
            ignore = torch.cat([torch.zeros_like(present[:, :1]), ~present], 1)
        return self.attn(z, z, z, key_padding_mask=ignore, need_weights=False)[0][:, 0]


class ConditionalVelocity(nn.Module):
    """flow matching velocity, conditioned on a set of perturbations"""

    def __init__(self, d_cell=10, d_cond=12, h=48, use_mask=True):
        super().__init__()
        self.lift = nn.Sequential(nn.Linear(d_cond, h), nn.SiLU(), nn.Linear(h, h))
        self.pool = TokenAttentionPooling(h, 4, use_mask)
        self.net = nn.Sequential(
            nn.Linear(d_cell + h + 1, 96), nn.SiLU(), nn.Linear(96, 96), nn.SiLU(), nn.Linear(96, d_cell)
        )

    def forward(self, x_t, t, conds, present):
        c = self.pool(self.lift(conds), present)
        return self.net(torch.cat([x_t, c, t], 1))


def make(seed, fixed, B=96, n=6):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 4)
    r = lambda *s: torch.randn(*s, generator=g)
    drugs = r(20, 12)
    effect = r(20, 10)
    which = torch.randint(0, 20, (B, n), generator=g)
    k = torch.randint(1, n + 1, (B, 1), generator=g)
    present = torch.arange(n) < k
    conds = drugs[which] * present[..., None]
    x0 = r(B, 10)
    x1 = (effect[which] * present[..., None]).sum(1) / k + 0.3 * r(B, 10)
    x1 = (x1 - x1.mean(0)) / x1.std(0)
    t = torch.rand(B, 1, generator=g)
    net = ConditionalVelocity(use_mask=fixed)
    return (
        net,
        nn.MSELoss(),
        (((1 - t) * x0 + t * x1, t, conds, present), x1 - x0),
        torch.optim.Adam(net.parameters(), 1e-3),
    )
