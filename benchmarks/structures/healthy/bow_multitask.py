"""Bag of words (nn.EmbeddingBag, mean, padding index left out) with three tasks whose losses are weighted
deliberately and unequally (1.0, 0.1, 0.01)."""

import torch
import torch.nn as nn
import torch.nn.functional as F

V, L, C = 80, 16, 5


class BoW(nn.Module):
    def __init__(self):
        super().__init__()
        self.bag = nn.EmbeddingBag(V + 1, 48, mode="mean", padding_idx=0)
        self.body = nn.Sequential(nn.Linear(48, 48), nn.ReLU())
        self.topic, self.stars, self.length = nn.Linear(48, C), nn.Linear(48, 1), nn.Linear(48, 1)

    def forward(self, tokens):
        h = self.body(self.bag(tokens))
        return {"topic": self.topic(h), "stars": self.stars(h).squeeze(-1), "length": self.length(h).squeeze(-1)}


def make(seed):
    torch.manual_seed(seed)
    B = 32
    topic = torch.randint(0, C, (B,))
    n = torch.randint(5, L + 1, (B,))
    tok = torch.where(
        torch.rand(B, L) < 0.5, 1 + topic[:, None] * 10 + torch.randint(0, 10, (B, L)), torch.randint(51, V + 1, (B, L))
    )
    tok = tok * (torch.arange(L)[None] < n[:, None])
    stars = (tok % 2 * 2 - 1).float().mean(1)
    stars, ln = (stars - stars.mean()) / stars.std(), (n.float() - n.float().mean()) / n.float().std()
    model = BoW()

    def loss(o, t):
        return (
            F.cross_entropy(o["topic"], t["topic"])
            + 0.1 * F.mse_loss(o["stars"], t["stars"])
            + 0.01 * F.mse_loss(o["length"], t["length"])
        )

    return (
        model,
        loss,
        (tok, {"topic": topic, "stars": stars, "length": ln}),
        torch.optim.Adam(model.parameters(), lr=5e-3),
    )
