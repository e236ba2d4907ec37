# base: vae_digits_adamw
# rule: WP604
# cause: eps-dominates
# line: optimizer = torch.optim.AdamW(model.parameters(), args.lr, (args.beta1, args.beta2), args.weight_decay)
# why: the fourth positional argument is eps, not weight_decay: eps = 0.01 is far above sqrt(v), steps shrink a hundredfold.
"""Variational autoencoder on 8x8 digits, AdamW; per-pixel mean losses."""
import argparse
import hashlib

import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

parser = argparse.ArgumentParser(description="VAE digits")
parser.add_argument("--batch-size", type=int, default=64)
parser.add_argument("--epochs", type=int, default=12)
parser.add_argument("--lr", type=float, default=3e-3)
parser.add_argument("--beta1", type=float, default=0.9)
parser.add_argument("--beta2", type=float, default=0.99)
parser.add_argument("--weight-decay", type=float, default=1e-2)
parser.add_argument("--log-interval", type=int, default=20)
args = parser.parse_args()
torch.manual_seed(1)

pixels = torch.tensor(load_digits().data, dtype=torch.float32) / 16.0
train_loader = DataLoader(pixels[:1400], batch_size=args.batch_size, shuffle=True)
test_loader = DataLoader(pixels[1400:], batch_size=200, shuffle=False)


class VAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc1 = nn.Linear(64, 96)
        self.fc21 = nn.Linear(96, 6)
        self.fc22 = nn.Linear(96, 6)
        self.fc3 = nn.Linear(6, 96)
        self.fc4 = nn.Linear(96, 64)

    def encode(self, x):
        h = F.relu(self.fc1(x))
        return self.fc21(h), self.fc22(h)

    def reparameterize(self, mu, logvar):
        if not self.training:
            return mu
        return mu + torch.exp(0.5 * logvar) * torch.randn_like(mu)

    def forward(self, x):
        mu, logvar = self.encode(x)
        return self.fc4(F.relu(self.fc3(self.reparameterize(mu, logvar)))), mu, logvar


def loss_function(recon, x, mu, logvar):
    bce = F.binary_cross_entropy_with_logits(recon, x)
    kld = -0.5 * torch.mean(1 + logvar - mu.pow(2) - logvar.exp())
    return bce + 0.01 * kld


model = VAE()
optimizer = torch.optim.AdamW(model.parameters(), args.lr, (args.beta1, args.beta2), args.weight_decay)


def train(epoch):
    model.train()
    for batch_idx, data in enumerate(train_loader):
        optimizer.zero_grad()
        recon, mu, logvar = model(data)
        loss = loss_function(recon, data, mu, logvar)
        loss.backward()
        optimizer.step()
        if batch_idx % args.log_interval == 0:
            print("Train Epoch: {} [{}/{}]\tLoss: {:.6f}".format(epoch, batch_idx * len(data), len(train_loader.dataset), loss.item()))


def test():
    model.eval()
    total = 0.0
    with torch.no_grad():
        for data in test_loader:
            recon, mu, logvar = model(data)
            total += loss_function(recon, data, mu, logvar).item() * len(data)
    return total / len(test_loader.dataset)


if __name__ == "__main__":
    for epoch in range(1, args.epochs + 1):
        train(epoch)
        t = test()
        print(f"====> Test set loss: {t:.4f}")
    print(f"metric {t:.4f}")
    print("digest", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in model.parameters())).hexdigest())
