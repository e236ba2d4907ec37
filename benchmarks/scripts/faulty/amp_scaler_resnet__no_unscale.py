# base: amp_scaler_resnet
# rule: WP603
# cause: before-unscale
# line: nn.utils.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
# why: unscale_ is missing: scaled gradients are clipped to norm 1 and then divided by 16384; nothing is learnt.
"""Mixed precision with autocast and GradScaler, gradients unscaled before clipping; pre-activation conv net, SGD."""
import hashlib

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.amp import GradScaler, autocast
from torch.utils.data import DataLoader, TensorDataset, random_split


class PreAct(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.f = nn.Sequential(nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1, bias=False),
                               nn.BatchNorm2d(c), nn.ReLU(), nn.Conv2d(c, c, 3, padding=1, bias=False))

    def forward(self, x):
        return x + self.f(x)


class Trainer:
    def __init__(self, model, train_dl, val_dl, lr=0.05, max_grad_norm=1.0):
        self.model, self.train_dl, self.val_dl = model, train_dl, val_dl
        self.opt = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, nesterov=True, weight_decay=1e-4)
        self.scaler = GradScaler("cpu", init_scale=2.0**14, growth_interval=1000)
        self.crit = nn.CrossEntropyLoss(label_smoothing=0.05)
        self.max_grad_norm = max_grad_norm

    def train_step(self, x, y):
        self.opt.zero_grad(set_to_none=True)
        with autocast("cpu", dtype=torch.bfloat16):
            loss = self.crit(self.model(x), y)
        self.scaler.scale(loss).backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), self.max_grad_norm)
        self.scaler.step(self.opt)
        self.scaler.update()
        return loss.detach()

    @torch.no_grad()
    def validate(self):
        self.model.eval()
        loss = acc = n = 0
        for x, y in self.val_dl:
            out = self.model(x)
            loss += nn.functional.cross_entropy(out, y, reduction="sum").item()
            acc += (out.argmax(1) == y).sum().item()
            n += len(y)
        self.model.train()
        return loss / n, acc / n

    def fit(self, epochs):
        for e in range(epochs):
            total = sum(self.train_step(x, y) for x, y in self.train_dl) / len(self.train_dl)
            vl, va = self.validate()
            print(f"epoch {e} | train {total.item():.4f} | val {vl:.4f} | acc {va:.4f} | scale {self.scaler.get_scale():.0f}")
        return vl


def main():
    torch.manual_seed(77)
    d = load_digits()
    ds = TensorDataset(torch.tensor(d.images).float().unsqueeze(1) / 8 - 1, torch.tensor(d.target))
    tr, va = random_split(ds, [1400, len(ds) - 1400], generator=torch.Generator().manual_seed(1))
    c = 12
    model = nn.Sequential(nn.Conv2d(1, c, 3, padding=1), PreAct(c), nn.MaxPool2d(2), PreAct(c),
                          nn.BatchNorm2d(c), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(4 * c, 10))
    trainer = Trainer(model, DataLoader(tr, 64, shuffle=True, drop_last=True), DataLoader(va, 256))
    vl = trainer.fit(3)
    print(f"metric {vl:.4f}")
    print("digest", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())


main()
