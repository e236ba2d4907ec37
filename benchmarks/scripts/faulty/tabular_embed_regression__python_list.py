# base: tabular_embed_regression
# rule: WP602
# cause: not-in-optimizer
# line: self.embeds = [nn.Embedding(c, emb_dim) for c in cards]
# why: a plain list instead of ModuleList: the embeddings are not in model.parameters() and stay random.
"""Tabular regression with entity embeddings for the categorical columns (house-price style)."""
import hashlib
from types import SimpleNamespace

import torch
import torch.nn as nn
from torch.utils.data import DataLoader, Dataset

cfg = SimpleNamespace(cards=(24, 12, 30), n_cont=4, rows=1600, batch=64, epochs=6, lr=4e-3, wd=1e-4, seed=7)


class TabularDataset(Dataset):
    def __init__(self, n, seed):
        table = torch.Generator().manual_seed(1000)
        effects = [torch.randn(c, generator=table) for c in cfg.cards]
        slopes = torch.randn(cfg.n_cont, generator=table) * 0.5
        g = torch.Generator().manual_seed(seed)
        self.cats = torch.stack([torch.randint(0, c, (n,), generator=g) for c in cfg.cards], 1)
        self.conts = torch.randn(n, cfg.n_cont, generator=g)
        e = [eff[self.cats[:, i]] for i, eff in enumerate(effects)]
        y = e[0] + e[1] * e[2] + self.conts @ slopes + 0.1 * torch.randn(n, generator=g)
        self.y = (y / 1.9).unsqueeze(1)

    def __len__(self):
        return len(self.y)

    def __getitem__(self, i):
        return self.cats[i], self.conts[i], self.y[i]


class TabularModel(nn.Module):
    def __init__(self, cards, n_cont, emb_dim=2, hidden=48):
        super().__init__()
        self.embeds = [nn.Embedding(c, emb_dim) for c in cards]
        self.bn = nn.BatchNorm1d(n_cont)
        self.layers = nn.Sequential(
            nn.Linear(emb_dim * len(cards) + n_cont, hidden), nn.SiLU(),
            nn.Linear(hidden, hidden), nn.SiLU(), nn.Dropout(0.02), nn.Linear(hidden, 1))

    def forward(self, cats, conts):
        parts = [emb(cats[:, i]) for i, emb in enumerate(self.embeds)]
        return self.layers(torch.cat(parts + [self.bn(conts)], 1))


def run_epoch(model, loader, criterion, optimizer=None):
    training = optimizer is not None
    model.train(training)
    total = 0.0
    with torch.set_grad_enabled(training):
        for cats, conts, y in loader:
            loss = criterion(model(cats, conts), y)
            if training:
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
            total += loss.item() * len(y)
    return total / len(loader.dataset)


def main():
    torch.manual_seed(cfg.seed)
    train_dl = DataLoader(TabularDataset(cfg.rows, 1), batch_size=cfg.batch, shuffle=True)
    valid_dl = DataLoader(TabularDataset(400, 2), batch_size=200)
    model = TabularModel(cfg.cards, cfg.n_cont)
    optimizer = torch.optim.AdamW(model.parameters(), lr=cfg.lr, weight_decay=cfg.wd)
    criterion = nn.MSELoss()
    for epoch in range(cfg.epochs):
        tr = run_epoch(model, train_dl, criterion, optimizer)
        va = run_epoch(model, valid_dl, criterion)
        print(f"{epoch:3d}  train {tr:.4f}  valid {va:.4f}")
    print(f"metric {va:.4f}")
    h = hashlib.sha256()
    for emb in model.embeds:
        h.update(emb.weight.detach().numpy().tobytes())
    for p in list(model.bn.parameters()) + list(model.layers.parameters()):
        h.update(p.detach().numpy().tobytes())
    print("digest", h.hexdigest())


if __name__ == "__main__":
    main()
