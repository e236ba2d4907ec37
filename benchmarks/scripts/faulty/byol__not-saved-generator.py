# base: byol
# rule: WP606
# cause: not-saved:generator
# line: "scheduler": scheduler.state_dict(),
# why: the resumed run draws the batch orders and augmentations of epochs 0 to 2 again instead of new ones
"""BYOL on digits (in the shape of lucidrains' byol-pytorch / lightly's loops), with a linear probe at the end."""
import argparse
import copy
import hashlib
import math
import os
import tempfile

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from torch.optim.lr_scheduler import CosineAnnealingLR
from torch.utils.data import DataLoader, TensorDataset


class Augment:
    """Random shift, brightness, noise, drawn for each image at every call."""

    def __init__(self, seed, noise=0.15):
        self.noise = noise
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, x):
        g = self.generator
        n = x.shape[0]
        shift = torch.randint(-1, 2, (n, 2), generator=g)
        idx = torch.arange(8)
        rows = (idx[None, :] + shift[:, :1]) % 8
        cols = (idx[None, :] + shift[:, 1:]) % 8
        b = torch.arange(n)
        x = x[b[:, None, None], 0, rows[:, :, None], cols[:, None, :]].unsqueeze(1)
        gain = 0.7 + 0.6 * torch.rand(n, 1, 1, 1, generator=g)
        return x * gain + self.noise * torch.randn(x.shape, generator=g)


def mlp(din, dhid, dout):
    return nn.Sequential(nn.Linear(din, dhid), nn.BatchNorm1d(dhid), nn.ReLU(inplace=True), nn.Linear(dhid, dout))


class Encoder(nn.Module):
    def __init__(self, width=16, proj=32):
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Conv2d(1, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU(inplace=True),
            nn.Conv2d(width, width * 2, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(width * 2), nn.ReLU(inplace=True),
            nn.Flatten(),
        )
        self.projector = mlp(width * 2 * 16, 64, proj)

    def forward(self, x, return_features=False):
        f = self.backbone(x)
        return f if return_features else self.projector(f)


class BYOL(nn.Module):
    def __init__(self, proj=32):
        super().__init__()
        self.online_encoder = Encoder(proj=proj)
        self.online_predictor = mlp(proj, 64, proj)
        self.target_encoder = copy.deepcopy(self.online_encoder)
        for p in self.target_encoder.parameters():
            p.requires_grad = False

    @torch.no_grad()
    def update_moving_average(self, tau):
        for po, pt in zip(self.online_encoder.parameters(), self.target_encoder.parameters()):
            pt.data.mul_(tau).add_(po.data, alpha=1 - tau)

    @staticmethod
    def regression_loss(p, z):
        return 2 - 2 * (F.normalize(p, dim=-1) * F.normalize(z, dim=-1)).sum(-1)

    def forward(self, v1, v2):
        p1 = self.online_predictor(self.online_encoder(v1))
        p2 = self.online_predictor(self.online_encoder(v2))
        with torch.no_grad():
            z1 = self.target_encoder(v1)
            z2 = self.target_encoder(v2)
        return (self.regression_loss(p1, z2.detach()) + self.regression_loss(p2, z1.detach())).mean()


def build(args):
    model = BYOL()
    params = list(model.online_encoder.parameters()) + list(model.online_predictor.parameters())
    optimizer = torch.optim.Adam(params, lr=args.lr)
    scheduler = CosineAnnealingLR(optimizer, T_max=args.epochs)
    return model, optimizer, scheduler


def cosine_tau(step, total, base=0.97):
    return 1 - (1 - base) * (math.cos(math.pi * step / total) + 1) / 2


def train_one_epoch(model, loader, optimizer, augment, step, total_steps, epoch):
    model.train()
    running = 0.0
    for (x,) in loader:
        loss = model(augment(x), augment(x))
        model.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        model.update_moving_average(cosine_tau(step, total_steps))
        running += loss.item()
        step += 1
    print(f"epoch {epoch} loss {running / len(loader):.4f} lr {optimizer.param_groups[0]['lr']:.2e}")
    return step


@torch.no_grad()
def probe(model, xtr, ytr, xte, yte):
    model.eval()
    ftr = model.online_encoder(xtr, return_features=True).numpy()
    fte = model.online_encoder(xte, return_features=True).numpy()
    clf = LogisticRegression(max_iter=200).fit(ftr[:300], ytr[:300])
    model.train()
    return clf.score(fte, yte)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=6)
    ap.add_argument("--batch-size", type=int, default=128)
    ap.add_argument("--lr", type=float, default=2e-3)
    ap.add_argument("--seed", type=int, default=0)
    ap.add_argument("--restart-at", type=int, default=3, help="epoch after which the run is stopped and taken up again; 0: never")
    args = ap.parse_args()
    torch.manual_seed(args.seed)

    d = load_digits()
    x = torch.from_numpy(d.images).float().unsqueeze(1) / 16.0
    x = (x - 0.305) / 0.376
    y = d.target
    xtr, ytr, xte, yte = x[:1408], y[:1408], x[1408:], y[1408:]

    def make_loader():
        g = torch.Generator().manual_seed(args.seed)
        return DataLoader(TensorDataset(xtr), batch_size=args.batch_size, shuffle=True, drop_last=True, generator=g), g

    loader, g = make_loader()
    augment = Augment(args.seed + 1)
    total = args.epochs * len(loader)
    model, optimizer, scheduler = build(args)
    print(f"probe before {probe(model, xtr, ytr, xte, yte):.4f}")
    step, epoch = 0, 0
    tmp = tempfile.TemporaryDirectory()
    ckpt = os.path.join(tmp.name, "checkpoint.pth.tar")

    while epoch < args.epochs:
        step = train_one_epoch(model, loader, optimizer, augment, step, total, epoch)
        scheduler.step()
        epoch += 1
        if epoch == args.restart_at:
            torch.save({
                "epoch": epoch,
                "step": step,
                "state_dict": model.state_dict(),
                "optimizer": optimizer.state_dict(),
                "scheduler": scheduler.state_dict(),
            }, ckpt)
            loader, g = make_loader()
            augment = Augment(args.seed + 1)
            model, optimizer, scheduler = build(args)
            state = torch.load(ckpt)
            model.load_state_dict(state["state_dict"])
            optimizer.load_state_dict(state["optimizer"])
            scheduler.load_state_dict(state["scheduler"])
            epoch, step = state["epoch"], state["step"]
            print(f"=> loaded checkpoint (epoch {epoch})")
    tmp.cleanup()
    print(f"probe after {probe(model, xtr, ytr, xte, yte):.4f}")

    h = hashlib.sha256()
    for p in model.parameters():
        if p.requires_grad:
            h.update(p.detach().numpy().tobytes())
    print("digest", h.hexdigest())


if __name__ == "__main__":
    main()
