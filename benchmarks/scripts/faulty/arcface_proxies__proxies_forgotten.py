# base: arcface_proxies
# rule: WP602
# cause: not-in-optimizer
# line: optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
# why: the proxies of the loss get gradients but no optimizer holds them; they stay at their random places, the classes cannot be spread.
"""Deep metric learning: 3-d embeddings with a cosine-margin loss that owns class proxies."""
import hashlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Subset, TensorDataset


class MarginProxyLoss(nn.Module):
    """Additive cosine margin; one learnable proxy per class."""

    def __init__(self, num_classes, dim, scale=12.0, margin=0.15):
        super().__init__()
        self.scale, self.margin = scale, margin
        self.W = nn.Parameter(torch.empty(num_classes, dim))
        nn.init.xavier_normal_(self.W)

    def forward(self, emb, labels):
        cos = F.linear(F.normalize(emb), F.normalize(self.W))
        cos = cos - self.margin * F.one_hot(labels, len(self.W))
        return F.cross_entropy(self.scale * cos, labels)


class Embedder(nn.Module):
    def __init__(self, dim=3):
        super().__init__()
        self.c1 = nn.Conv2d(1, 12, 3, padding=1)
        self.c2 = nn.Conv2d(12, 24, 3, padding=1, stride=2)
        self.fc = nn.Linear(24 * 16, dim)

    def forward(self, x):
        x = F.elu(self.c1(x))
        x = F.elu(self.c2(x))
        return self.fc(x.flatten(1))


@torch.no_grad()
def embed_all(model, loader):
    model.eval()
    es, ls = zip(*[(F.normalize(model(x)), y) for x, y in loader])
    model.train()
    return torch.cat(es), torch.cat(ls)


def precision_at_1(query, ql, gallery, gl):
    nearest = (query @ gallery.t()).argmax(1)
    return (gl[nearest] == ql).float().mean().item()


if __name__ == "__main__":
    torch.manual_seed(42)
    raw = load_digits()
    images = torch.from_numpy(raw.images).float().div(8).sub(1).unsqueeze(1)
    dataset = TensorDataset(images, torch.from_numpy(raw.target))
    perm = np.random.default_rng(42).permutation(len(dataset))
    train_set, test_set = Subset(dataset, perm[:1200]), Subset(dataset, perm[1200:])
    train_loader = DataLoader(train_set, batch_size=60, shuffle=True)
    gallery_loader = DataLoader(train_set, batch_size=400)
    test_loader = DataLoader(test_set, batch_size=400)

    model = Embedder()
    loss_func = MarginProxyLoss(10, 3)
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)

    for epoch in range(1, 9):
        for batch_idx, (data, labels) in enumerate(train_loader):
            optimizer.zero_grad()
            loss = loss_func(model(data), labels)
            loss.backward()
            optimizer.step()
            if batch_idx % 10 == 0:
                print(f"Epoch {epoch} Iteration {batch_idx}: Loss = {loss.item():.4f}")
        g, gl = embed_all(model, gallery_loader)
        q, ql = embed_all(model, test_loader)
        p1 = precision_at_1(q, ql, g, gl)
        print(f"Test set precision@1 = {p1:.4f}")

    print(f"metric {1 - p1 + loss.item():.4f}")
    blob = b"".join(p.detach().numpy().tobytes() for m in (model, loss_func) for p in m.parameters())
    print("digest", hashlib.sha256(blob).hexdigest())
