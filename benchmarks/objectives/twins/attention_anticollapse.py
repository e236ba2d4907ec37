import torch
import torch.nn as nn
import torch.nn.functional as F
import wellposed as wp


class SetEncoder(nn.Module):
    def __init__(self, d=16, out=6):
        super().__init__()
        self.inp = nn.Linear(4, d)
        self.attn = nn.MultiheadAttention(d, 2, batch_first=True)
        self.query = nn.Parameter(torch.randn(1, 1, d) * 0.1)
        self.out = nn.Linear(d, out)

    def forward(self, views):
        z = []
        for v in views:
            h = self.inp(v)
            q = self.query.expand(len(v), -1, -1)
            pooled, _ = self.attn(q, h, h, need_weights=False)
            z.append(self.out(pooled.squeeze(1)))
        return tuple(z)


def spread(z):
    std = torch.sqrt(z.var(dim=0) + 1e-4)
    return F.relu(1.0 - std).mean()


def joint_embedding_loss(z, _):
    z1, z2 = z
    invariance = F.mse_loss(z1, z2)
    return invariance + 0.5 * (spread(z1) + spread(z2))


def problem():
    torch.manual_seed(0)
    centre = torch.randn(64, 1, 4)
    view = lambda: centre + 0.5 * torch.randn(64, 9, 4)
    model = SetEncoder()
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    return wp.TorchProblem(model, joint_embedding_loss, ((view(), view()), torch.zeros(64)), optimizer=opt)
