"""VQ-VAE, straight-through codes on the unit sphere, codebook and commitment losses"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class VQ(nn.Module):
    def __init__(self, D=24, Z=8, K=16):
        super().__init__()
        self.e, self.d = (
            nn.Sequential(nn.Linear(D, 48), nn.ReLU(), nn.Linear(48, Z)),
            nn.Sequential(nn.Linear(Z, 48), nn.ReLU(), nn.Linear(48, D)),
        )
        self.code = nn.Embedding(K, Z)
        nn.init.normal_(self.code.weight, std=0.3)

    def forward(self, x):
        z = F.normalize(self.e(x), dim=-1)
        c = F.normalize(self.code.weight, dim=-1)
        i = torch.cdist(z, c).argmin(-1)
        q = c[i]
        aux = F.mse_loss(q, z.detach()) + 0.25 * F.mse_loss(z, q.detach())
        return self.d(z + (q - z).detach()), aux


def make(seed):
    torch.manual_seed(seed)
    c = torch.randn(8, 24)
    x = c[torch.randint(0, 8, (64,))] + 0.3 * torch.randn(64, 24)
    m = VQ()
    with torch.no_grad():
        m.code.weight.copy_(m.e(x[:16]) + 0.01 * torch.randn(16, 8))  # codes start at encoder outputs
    return m, (lambda o, x: F.mse_loss(o[0], x) + o[1]), (x, x), torch.optim.Adam(m.parameters(), lr=2e-3)
