"""Convolutional denoising autoencoder; the noise is a transform in the Dataset."""
import hashlib

import torch
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset


class AddGaussianNoise:
    def __init__(self, std=0.5, seed=0):
        self.std = std
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, img):
        noise = torch.randn(img.shape, generator=self.generator)
        return img + self.std * noise


class NoisyDigits(Dataset):
    def __init__(self, images, transform):
        self.images, self.transform = images, transform

    def __len__(self):
        return len(self.images)

    def __getitem__(self, idx):
        clean = self.images[idx]
        return self.transform(clean), clean


class DAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = nn.Sequential(nn.Conv2d(1, 16, 3, padding=1, stride=2), nn.ReLU(), nn.Conv2d(16, 32, 3, padding=1, stride=2), nn.ReLU())
        self.decoder = nn.Sequential(nn.ConvTranspose2d(32, 16, 2, stride=2), nn.ReLU(), nn.ConvTranspose2d(16, 1, 2, stride=2))

    def forward(self, x):
        return self.decoder(self.encoder(x))


class Experiment:
    def __init__(self, epochs=8, batch_size=40, lr=2e-3):
        torch.manual_seed(0)
        imgs = torch.tensor(load_digits().images, dtype=torch.float32).unsqueeze(1) / 16
        imgs = (imgs - imgs.mean()) / imgs.std()
        self.loader = DataLoader(NoisyDigits(imgs[:1400], AddGaussianNoise()), batch_size, shuffle=True)
        self.clean = imgs[1400:]
        self.noisy = self.clean + 0.5 * torch.randn(self.clean.shape, generator=torch.Generator().manual_seed(555))
        self.net, self.epochs = DAE(), epochs
        self.optimizer = torch.optim.Adam(self.net.parameters(), lr=lr)
        self.criterion = nn.MSELoss()

    def one_epoch(self):
        total = 0.0
        self.net.train()
        for noisy, clean in self.loader:
            self.net.zero_grad()
            loss = self.criterion(self.net(noisy), clean)
            loss.backward()
            self.optimizer.step()
            total += loss.item()
        return total / len(self.loader)

    def run(self):
        for e in range(self.epochs):
            tr = self.one_epoch()
            self.net.eval()
            with torch.no_grad():
                te = self.criterion(self.net(self.noisy), self.clean).item()
            print(f"[{e + 1}/{self.epochs}] train mse {tr:.4f} test mse {te:.4f}")
        return te


exp = Experiment()
print(f"metric {exp.run():.4f}")
print("digest", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in exp.net.parameters())).hexdigest())
