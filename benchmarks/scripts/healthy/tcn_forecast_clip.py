"""Forecasting with a dilated temporal convolution network; SGD + momentum, global-norm clipping, cosine schedule."""
import argparse
import hashlib
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import clip_grad_norm_
from torch.utils.data import DataLoader, Dataset

ap = argparse.ArgumentParser()
ap.add_argument("--lr", type=float, default=0.05)
ap.add_argument("--weight_decay", type=float, default=1e-4)
ap.add_argument("--max_norm", type=float, default=1.0)
ap.add_argument("--epochs", type=int, default=5)
ap.add_argument("--bs", type=int, default=32)


class Windows(Dataset):
    def __init__(self, series, past=32, ahead=4):
        self.s, self.past, self.ahead = series, past, ahead

    def __len__(self):
        return len(self.s) - self.past - self.ahead

    def __getitem__(self, i):
        return self.s[None, i : i + self.past], self.s[i + self.past : i + self.past + self.ahead]


class Chomp(nn.Module):
    def __init__(self, i, o, d):
        super().__init__()
        self.pad, self.conv = 2 * d, nn.Conv1d(i, o, 3, dilation=d)

    def forward(self, x):
        return F.gelu(self.conv(F.pad(x, (self.pad, 0))))


class TCN(nn.Module):
    def __init__(self, ahead=4, c=16):
        super().__init__()
        self.body = nn.Sequential(Chomp(1, c, 1), Chomp(c, c, 2), Chomp(c, c, 4), Chomp(c, c, 8))
        self.out = nn.Linear(c, ahead)

    def forward(self, x):
        return self.out(self.body(x)[..., -1])


def series(n=1500):
    g = torch.Generator().manual_seed(9)
    t = torch.arange(n).float()
    s = torch.sin(2 * math.pi * t / 24) + 0.5 * torch.sin(2 * math.pi * t / 7 + 1) + 0.1 * torch.randn(n, generator=g)
    return (s - s.mean()) / s.std()


def main():
    args = ap.parse_args()
    torch.manual_seed(0)
    s = series()
    train_dl = DataLoader(Windows(s[:1200]), args.bs, shuffle=True, drop_last=True)
    val_dl = DataLoader(Windows(s[1200:]), 128)
    net = TCN()
    opt = torch.optim.SGD(net.parameters(), args.lr, momentum=0.9, weight_decay=args.weight_decay)
    sched = torch.optim.lr_scheduler.CosineAnnealingLR(opt, T_max=args.epochs * len(train_dl))
    for ep in range(args.epochs):
        net.train()
        for past, future in train_dl:
            opt.zero_grad()
            loss = F.smooth_l1_loss(net(past), future)
            loss.backward()
            clip_grad_norm_(net.parameters(), args.max_norm)
            opt.step()
            sched.step()
        net.eval()
        with torch.no_grad():
            v = torch.cat([(net(p) - f).pow(2).mean(1) for p, f in val_dl]).mean().item()
        print(f"[{ep}] loss={loss.item():.4f} val_mse={v:.4f} lr={sched.get_last_lr()[0]:.4f}")
    print(f"metric {v:.4f}")
    print("digest", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in net.parameters())).hexdigest())


if __name__ == "__main__":
    main()
