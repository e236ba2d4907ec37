"""Fine-tuning a partly frozen backbone with a new head (in the shape of the transfer-learning recipes).

The stem and the first blocks are frozen, the last block is tuned with a small rate and the
weight-normed head with a larger one; activations of the blocks are checkpointed.
"""
import argparse
import hashlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from torch.nn.utils.parametrizations import weight_norm
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset


class Block(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.norm = nn.LayerNorm(dim)
        self.fc1, self.fc2 = nn.Linear(dim, 2 * dim), nn.Linear(2 * dim, dim)

    def forward(self, x):
        return x + self.fc2(F.gelu(self.fc1(self.norm(x))))


class Backbone(nn.Module):
    def __init__(self, dim=64, depth=3, use_checkpoint=False):
        super().__init__()
        self.stem = nn.Linear(64, dim)
        self.blocks = nn.ModuleList([Block(dim) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)
        self.use_checkpoint = use_checkpoint

    def forward(self, x):
        x = self.stem(x.flatten(1))
        for blk in self.blocks:
            if self.use_checkpoint and self.training:
                x = checkpoint(blk, x, use_reentrant=False)
            else:
                x = blk(x)
        return self.norm(x)


class Classifier(nn.Module):
    def __init__(self, backbone, num_classes, dim=64):
        super().__init__()
        self.backbone = backbone
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(dim, num_classes)

    def forward(self, x):
        return self.head(self.dropout(self.backbone(x)))


def load_pretrained(backbone, images):
    """Stands for a pretrained checkpoint: the stem holds the principal components of unlabelled images."""
    pca = PCA(n_components=backbone.stem.out_features, svd_solver="full").fit(images.flatten(1).double().numpy())
    scale = 1.0 / np.sqrt(pca.explained_variance_ + 0.05)
    w = torch.from_numpy(pca.components_ * scale[:, None]).float()
    state = backbone.state_dict()
    state["stem.weight"] = w
    state["stem.bias"] = -w @ torch.from_numpy(pca.mean_).float()
    backbone.load_state_dict(state)


@torch.no_grad()
def accuracy(model, loader, dtype):
    model.eval()
    hits = sum((model(x.to(dtype)).argmax(1) == y).sum().item() for x, y in loader)
    return hits / len(loader.dataset)


def main():
    ap = argparse.ArgumentParser()
    ap.add_argument("--epochs", type=int, default=5)
    ap.add_argument("--batch-size", type=int, default=32)
    ap.add_argument("--accum-steps", type=int, default=2)
    ap.add_argument("--head-lr", type=float, default=0.1)
    ap.add_argument("--backbone-lr", type=float, default=0.01)
    ap.add_argument("--clip", type=float, default=5.0)
    ap.add_argument("--dtype", default="float32", choices=["float32", "bfloat16"])
    ap.add_argument("--seed", type=int, default=0)
    args = ap.parse_args()
    torch.manual_seed(args.seed)
    dtype = getattr(torch, args.dtype)

    d = load_digits()
    x = torch.from_numpy(d.images).float().unsqueeze(1) / 16.0
    x = (x - 0.305) / 0.376
    y = torch.from_numpy(d.target)
    train_loader = DataLoader(TensorDataset(x[:1280], y[:1280]), batch_size=args.batch_size, shuffle=True, drop_last=True)
    val_loader = DataLoader(TensorDataset(x[1280:], y[1280:]), batch_size=256)

    backbone = Backbone(use_checkpoint=True)
    load_pretrained(backbone, x[:1280])

    # freeze all but the last block and the final norm
    for p in backbone.parameters():
        p.requires_grad_(False)
    for p in [*backbone.blocks[-1].parameters(), *backbone.norm.parameters()]:
        p.requires_grad_(True)

    model = Classifier(backbone, num_classes=10)
    model.head = weight_norm(model.head)
    model.to(dtype)

    tuned = [p for p in model.backbone.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(
        [{"params": tuned, "lr": args.backbone_lr}, {"params": model.head.parameters(), "lr": args.head_lr}],
        momentum=0.9, weight_decay=1e-4,
    )
    updates = args.epochs * (len(train_loader) // args.accum_steps)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=[args.backbone_lr, args.head_lr], total_steps=updates, pct_start=0.25)

    for epoch in range(args.epochs):
        model.train()
        optimizer.zero_grad()
        for i, (xb, yb) in enumerate(train_loader):
            loss = F.cross_entropy(model(xb.to(dtype)).float(), yb)
            (loss / args.accum_steps).backward()
            if (i + 1) % args.accum_steps == 0:
                nn.utils.clip_grad_norm_((p for p in model.parameters() if p.requires_grad), args.clip)
                optimizer.step()
                scheduler.step()
                optimizer.zero_grad()
        print(f"epoch {epoch} loss {loss.item():.4f} val acc {accuracy(model, val_loader, dtype):.4f} "
              f"lr {[round(v, 5) for v in scheduler.get_last_lr()]}")

    h = hashlib.sha256()
    for p in model.parameters():
        if p.requires_grad:
            h.update(p.detach().float().numpy().tobytes())
    print("digest", h.hexdigest())


if __name__ == "__main__":
    main()
