# base: vit_digits_warmup
# rule: WP604
# cause: never-moves
# line: scheduler.step()
# why: the warm-up counts steps but the scheduler is stepped per epoch: rate zero in the first epoch, a twentieth per epoch after.
"""A tiny vision transformer on 8x8 digits: AdamW, warm-up counted in steps, then cosine decay."""
import hashlib
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

config = dict(patch=2, dim=48, depth=2, heads=4, batch_size=64, epochs=8, base_lr=2e-3, warmup_steps=20, weight_decay=0.05, seed=1234)


class Block(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(d), nn.LayerNorm(d)
        self.attn = nn.MultiheadAttention(d, h, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x):
        y = self.n1(x)
        x = x + self.attn(y, y, y, need_weights=False)[0]
        return x + self.mlp(self.n2(x))


class ViT(nn.Module):
    def __init__(self, patch, dim, depth, heads, **_):
        super().__init__()
        self.embed = nn.Conv2d(1, dim, patch, stride=patch)
        self.cls = nn.Parameter(torch.zeros(1, 1, dim))
        self.pos = nn.Parameter(torch.randn(1, (8 // patch) ** 2 + 1, dim) * 0.02)
        self.blocks = nn.Sequential(*[Block(dim, heads) for _ in range(depth)])
        self.norm, self.head = nn.LayerNorm(dim), nn.Linear(dim, 10)

    def forward(self, img):
        x = self.embed(img).flatten(2).transpose(1, 2)
        x = torch.cat([self.cls.expand(len(x), -1, -1), x], 1) + self.pos
        return self.head(self.norm(self.blocks(x))[:, 0])


def warmup_cosine(optimizer, warmup, total):
    def fn(step):
        if step < warmup:
            return step / max(1, warmup)
        return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, total - warmup)))
    return torch.optim.lr_scheduler.LambdaLR(optimizer, fn)


def main():
    torch.manual_seed(config["seed"])
    d = load_digits()
    x = torch.tensor(d.images, dtype=torch.float32).unsqueeze(1) / 8 - 1
    y = torch.tensor(d.target)
    perm = torch.randperm(len(y))
    tr, te = perm[:1400], perm[1400:]
    train_loader = DataLoader(TensorDataset(x[tr], y[tr]), config["batch_size"], shuffle=True, drop_last=True)
    model = ViT(**config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=config["base_lr"], weight_decay=config["weight_decay"])
    scheduler = warmup_cosine(optimizer, config["warmup_steps"], config["epochs"] * len(train_loader))

    for epoch in range(config["epochs"]):
        model.train()
        for images, labels in train_loader:
            optimizer.zero_grad(set_to_none=True)
            loss = F.cross_entropy(model(images), labels, label_smoothing=0.1)
            loss.backward()
            optimizer.step()
        scheduler.step()
        model.eval()
        with torch.inference_mode():
            out = model(x[te])
            acc = (out.argmax(1) == y[te]).float().mean().item()
            val = F.cross_entropy(out, y[te]).item()
        print(f"Epoch {epoch:2d}  loss {loss.item():.4f}  val {val:.4f}  acc {acc:.4f}  lr {scheduler.get_last_lr()[0]:.6f}")
    print(f"metric {val:.4f}")
    print("digest", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


if __name__ == "__main__":
    main()
