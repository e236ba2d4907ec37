import torch
from torch import nn
import wellposed as wp

LATENT = 6


class Encoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8), nn.LeakyReLU(),
            nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.LeakyReLU(),
            nn.Flatten())
        self.fc_mu = nn.Linear(16 * 16, LATENT)
        self.fc_var = nn.Linear(16 * 16, LATENT)

    def forward(self, x):
        h = self.net(x)
        return self.fc_mu(h), self.fc_var(h)


class ConvVAE(nn.Module):
    def __init__(self):
        super().__init__()
        self.encoder = Encoder()
        self.decoder_input = nn.Linear(LATENT, 16 * 16)
        self.decoder = nn.Sequential(
            nn.Unflatten(1, (16, 4, 4)),
            nn.ConvTranspose2d(16, 8, 4, stride=2, padding=1), nn.LeakyReLU(),
            nn.ConvTranspose2d(8, 1, 4, stride=2, padding=1), nn.Tanh())

    def forward(self, x):
        mu, log_var = self.encoder(x)
        z = mu + torch.randn_like(mu) * torch.exp(0.5 * log_var)
        return {"recons": self.decoder(self.decoder_input(z)), "mu": mu, "log_var": log_var}


def vae_loss(out, images, kld_weight=0.025):
    recons_loss = nn.functional.mse_loss(out["recons"], images)
    mu, log_var = out["mu"], out["log_var"]
    kld_loss = torch.mean(-0.5 * torch.sum(1 + log_var - mu ** 2 - log_var.exp(), dim=1), dim=0)
    return recons_loss - kld_weight * kld_loss


def problem():
    torch.manual_seed(0)
    g = torch.linspace(-1, 1, 16)
    yy, xx = torch.meshgrid(g, g, indexing="ij")
    c = torch.rand(64, 2) - 0.5
    img = torch.exp(-((xx - c[:, :1, None]) ** 2 + (yy - c[:, 1:, None]) ** 2) / 0.1)
    img = (img * 2 - 1).unsqueeze(1)
    model = ConvVAE()
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    return wp.TorchProblem(model, vae_loss, (img, img), optimizer=opt)
