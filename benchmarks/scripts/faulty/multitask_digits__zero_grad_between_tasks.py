# base: multitask_digits
# rule: WP601
# cause: cleared-too-early
# line: optimizer.zero_grad()
# why: the gradients are cleared between the two backward calls, so the digit loss never moves anything; its accuracy stays at chance.
"""Hard parameter sharing: which digit, and whether it has a loop-like amount of ink (two heads)."""
import hashlib
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.utils.data import DataLoader, TensorDataset


def set_seed(s):
    random.seed(s)
    np.random.seed(s)
    torch.manual_seed(s)


class SharedNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.trunk = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.MaxPool2d(2),
            nn.Conv2d(16, 32, 3, padding=1), nn.BatchNorm2d(32), nn.ReLU(), nn.Flatten(),
        )
        self.head_digit = nn.Linear(32 * 16, 10)
        self.head_ink = nn.Sequential(nn.Linear(32 * 16, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, x):
        z = self.trunk(x)
        return self.head_digit(z), self.head_ink(z).squeeze(1)


def test(model, loader):
    model.eval()
    right, sq, n = 0, 0.0, 0
    with torch.no_grad():
        for x, y, ink in loader:
            digit, out = model(x)
            right += (digit.argmax(1) == y).sum().item()
            sq += F.mse_loss(out, ink, reduction="sum").item()
            n += len(y)
    return right / n, sq / n


def train(model, loader, optimizer, epoch):
    model.train()
    for step, (x, y, ink) in enumerate(loader):
        digit, out = model(x)
        loss_digit = F.cross_entropy(digit, y)
        loss_digit.backward(retain_graph=True)
        loss_ink = F.mse_loss(out, ink)
        optimizer.zero_grad()
        loss_ink.backward()
        optimizer.step()
        if step % 20 == 0:
            print(f"epoch {epoch} step {step} digit {loss_digit.item():.4f} ink {loss_ink.item():.4f}")


def main():
    set_seed(17)
    d = load_digits()
    X = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 16.0
    ink = X.flatten(1).mean(1)
    ink = (ink - ink.mean()) / ink.std()
    X = (X - X.mean()) / X.std()
    y = torch.tensor(d.target)
    tr, te = train_test_split(np.arange(len(y)), test_size=0.25, random_state=0, stratify=d.target)
    train_loader = DataLoader(TensorDataset(X[tr], y[tr], ink[tr]), batch_size=32, shuffle=True, drop_last=True)
    test_loader = DataLoader(TensorDataset(X[te], y[te], ink[te]), batch_size=256)
    model = SharedNet()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-5)
    for epoch in range(4):
        train(model, train_loader, optimizer, epoch)
        acc, mse = test(model, test_loader)
        print(f"== epoch {epoch} accuracy {acc:.4f} ink mse {mse:.4f}")
    print(f"metric {1 - acc + mse:.4f}")
    h = hashlib.sha256()
    for _, p in model.named_parameters():
        h.update(p.detach().cpu().contiguous().numpy().tobytes())
    print("digest", h.hexdigest())


if __name__ == "__main__":
    main()
