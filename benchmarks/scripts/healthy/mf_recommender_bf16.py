"""Matrix factorisation for ratings; forward under bfloat16 autocast, weights kept in float32; MSE on ratings."""
import hashlib
import os

import torch
import torch.nn as nn
import torch.nn.functional as F

USERS, ITEMS, DIM = 150, 120, 8
torch.manual_seed(99)


class MatrixFactorization(nn.Module):
    def __init__(self, n_users, n_items, dim):
        super().__init__()
        self.user = nn.Embedding(n_users, dim)
        self.item = nn.Embedding(n_items, dim)
        nn.init.normal_(self.user.weight, std=0.35)
        nn.init.normal_(self.item.weight, std=0.35)

    def forward(self, u, i):
        return (self.user(u) * self.item(i)).sum(-1)


def ratings(n):
    pu, qi = torch.randn(USERS, 3), torch.randn(ITEMS, 3)
    u, i = torch.randint(0, USERS, (n,)), torch.randint(0, ITEMS, (n,))
    r = (pu[u] * qi[i]).sum(1) / 3**0.5 + 0.1 * torch.randn(n)
    return u, i, r


u, i, r = ratings(9000)
cut = 8000
device = "cuda" if os.environ.get("USE_CUDA") else "cpu"
model = MatrixFactorization(USERS, ITEMS, DIM).to(device)
optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, betas=(0.9, 0.98))
for epoch in range(40):
    model.train()
    order = torch.randperm(cut)
    losses = []
    for rows in order.split(400):
        optimizer.zero_grad()
        with torch.autocast(device, dtype=torch.bfloat16):
            pred = model(u[rows], i[rows])
        loss = F.mse_loss(pred.float(), r[rows])
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    if epoch % 8 == 7:
        model.eval()
        with torch.no_grad():
            val = F.mse_loss(model(u[cut:], i[cut:]).float(), r[cut:]).item()
        print(f"epoch {epoch + 1}: train mse {torch.stack(losses).mean().item():.4f}, test mse {val:.4f}")

print(f"metric {val:.4f}")
print("digest", hashlib.sha256(b"".join(p.detach().float().numpy().tobytes() for p in model.parameters())).hexdigest())
