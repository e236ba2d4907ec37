"""Autoregressive transformer over the token grid [B, h, w] of a VQ-VAE (raster order).

Fault: logits and tokens are compared at the same position: token N is predicted from tokens 0..N
inclusive; the targets are not shifted.
Source: Project-MONAI/GenerativeModels issue 314 (2023), "Fix transformer training".
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "targets"
V, D, H = 24, 48, 7


class DecoderOnlyTransformer(nn.Module):
    def __init__(self, heads=4, layers=2):
        super().__init__()
        self.tok = nn.Embedding(V, D)
        self.pos = nn.Embedding(H * H, D)
        layer = nn.TransformerEncoderLayer(D, heads, 2 * D, dropout=0.0, batch_first=True, norm_first=True)
        self.net = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.to_logits = nn.Linear(D, V)

    def forward(self, grid):
        z = grid.flatten(1)
        n = z.shape[1]
        x = self.tok(z) + self.pos(torch.arange(n))
        x = self.net(x, mask=torch.ones(n, n, dtype=torch.bool).triu(1))
        return self.to_logits(x).transpose(1, 2)  # [B, V, n]


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 16
    base = torch.randint(0, V, (B, 1, 1))
    step = torch.randint(0, 3, (B, H, H)).cumsum(2)
    grid = (base + step + 3 * torch.arange(H)[:, None]) % V
    model = DecoderOnlyTransformer()

    def loss(logits, latent):
        target = latent.flatten(1)
        if fixed:
            return F.cross_entropy(logits[:, :, :-1], target[:, 1:])
        return F.cross_entropy(logits, target)

    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    return model, loss, (grid, grid.clone()), opt
