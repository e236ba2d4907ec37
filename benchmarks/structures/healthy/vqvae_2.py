"""VQ-VAE with straight-through estimator: codebook loss ||sg[z] - e||, commitment 0.25 ||z - sg[e]||; the
detached parts are meant; the target is the input."""

import torch
import torch.nn as nn
import torch.nn.functional as F


class VQVAE(nn.Module):
    def __init__(self, c=32, d=8, k=24):
        super().__init__()
        self.enc = nn.Sequential(nn.Conv1d(2, c, 4, 2, 1), nn.ReLU(), nn.Conv1d(c, d, 4, 2, 1))
        self.codebook = nn.Embedding(k, d)
        self.dec = nn.Sequential(nn.ConvTranspose1d(d, c, 4, 2, 1), nn.ReLU(), nn.ConvTranspose1d(c, 2, 4, 2, 1))

    def encode(self, x):
        z = self.enc(x).transpose(1, 2)
        return F.layer_norm(z, z.shape[-1:])

    def forward(self, x):
        z = self.encode(x)
        idx = torch.cdist(z, self.codebook.weight[None].expand(len(z), -1, -1)).argmin(-1)
        e = self.codebook(idx)
        st = z + (e - z).detach()
        return {
            "recon": self.dec(st.transpose(1, 2)),
            "codebook": F.mse_loss(e, z.detach()),
            "commit": F.mse_loss(z, e.detach()),
        }


def make(seed):
    torch.manual_seed(seed)
    t = torch.arange(48).float()
    x = torch.sin(t * (0.2 + 0.4 * torch.rand(16, 2, 1)) + 6.28 * torch.rand(16, 2, 1)) * 1.4
    model = VQVAE()
    with torch.no_grad():  # codes start at encodings of the data
        z = model.encode(x).reshape(-1, 8)
        model.codebook.weight.copy_(z[torch.randperm(len(z))[:24]])

    def loss(o, y):
        return F.mse_loss(o["recon"], y) + o["codebook"] + 0.25 * o["commit"]

    return model, loss, (x, x.clone()), torch.optim.Adam(model.parameters(), lr=2e-3)
