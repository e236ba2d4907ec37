# base: wgan_gp
# rule: WP601
# cause: other-optimizer
# line: optimizer_D.zero_grad()
# why: before the generator's backward the critic's gradients are cleared (second of the two places), so the generator steps along the sum of all its gradients since the start
"""WGAN-GP (in the shape of PyTorch-GAN), on 8x8 digits."""
import argparse
import hashlib

import numpy as np
import torch
import torch.autograd as autograd
import torch.nn as nn
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, TensorDataset

parser = argparse.ArgumentParser()
parser.add_argument("--n_epochs", type=int, default=6, help="number of epochs of training")
parser.add_argument("--batch_size", type=int, default=64, help="size of the batches")
parser.add_argument("--lr", type=float, default=5e-4, help="adam: learning rate")
parser.add_argument("--b1", type=float, default=0.5)
parser.add_argument("--b2", type=float, default=0.9)
parser.add_argument("--latent_dim", type=int, default=16)
parser.add_argument("--n_critic", type=int, default=5, help="critic steps for each generator step")
parser.add_argument("--lambda_gp", type=float, default=10.0)
parser.add_argument("--sample_interval", type=int, default=50)
opt = parser.parse_args()
print(opt)
torch.manual_seed(0)
np.random.seed(0)

img_shape = (1, 8, 8)


class Generator(nn.Module):
    def __init__(self):
        super().__init__()

        def block(in_feat, out_feat, normalize=True):
            layers = [nn.Linear(in_feat, out_feat)]
            if normalize:
                layers.append(nn.BatchNorm1d(out_feat))
            layers.append(nn.LeakyReLU(0.2, inplace=True))
            return layers

        self.model = nn.Sequential(
            *block(opt.latent_dim, 64, normalize=False),
            *block(64, 128),
            nn.Linear(128, int(np.prod(img_shape))),
            nn.Tanh(),
        )

    def forward(self, z):
        img = self.model(z)
        return img.view(img.shape[0], *img_shape)


class Discriminator(nn.Module):
    def __init__(self):
        super().__init__()
        self.model = nn.Sequential(
            nn.Linear(int(np.prod(img_shape)), 128),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(128, 64),
            nn.LeakyReLU(0.2, inplace=True),
            nn.Linear(64, 1),
        )

    def forward(self, img):
        return self.model(img.view(img.shape[0], -1))


def compute_gradient_penalty(D, real_samples, fake_samples):
    alpha = torch.rand(real_samples.size(0), 1, 1, 1)
    interpolates = (alpha * real_samples + (1 - alpha) * fake_samples).requires_grad_(True)
    d_interpolates = D(interpolates)
    gradients = autograd.grad(
        outputs=d_interpolates,
        inputs=interpolates,
        grad_outputs=torch.ones_like(d_interpolates),
        create_graph=True,
        retain_graph=True,
        only_inputs=True,
    )[0]
    gradients = gradients.view(gradients.size(0), -1)
    return ((gradients.norm(2, dim=1) - 1) ** 2).mean()


images = torch.from_numpy(load_digits().images).float().unsqueeze(1) / 8.0 - 1.0
dataloader = DataLoader(TensorDataset(images), batch_size=opt.batch_size, shuffle=True, drop_last=True)

generator = Generator()
discriminator = Discriminator()
optimizer_G = torch.optim.Adam(generator.parameters(), lr=opt.lr, betas=(opt.b1, opt.b2))
optimizer_D = torch.optim.Adam(discriminator.parameters(), lr=opt.lr, betas=(opt.b1, opt.b2))
fixed_z = torch.randn(64, opt.latent_dim)

batches_done = 0
for epoch in range(opt.n_epochs):
    for i, (real_imgs,) in enumerate(dataloader):
        # ---------------------
        #  Train Discriminator
        # ---------------------
        optimizer_D.zero_grad()
        z = torch.randn(real_imgs.shape[0], opt.latent_dim)
        fake_imgs = generator(z).detach()
        real_validity = discriminator(real_imgs)
        fake_validity = discriminator(fake_imgs)
        gradient_penalty = compute_gradient_penalty(discriminator, real_imgs, fake_imgs)
        d_loss = -torch.mean(real_validity) + torch.mean(fake_validity) + opt.lambda_gp * gradient_penalty
        d_loss.backward()
        optimizer_D.step()

        # Train the generator every n_critic steps
        if i % opt.n_critic == 0:
            # -----------------
            #  Train Generator
            # -----------------
            optimizer_D.zero_grad()
            fake_imgs = generator(z)
            g_loss = -torch.mean(discriminator(fake_imgs))
            g_loss.backward()
            optimizer_G.step()

        if batches_done % opt.sample_interval == 0:
            print("[Epoch %d/%d] [Batch %d/%d] [D loss: %f] [G loss: %f]" % (
                epoch, opt.n_epochs, i, len(dataloader), d_loss.item(), g_loss.item()))
        batches_done += 1

    if epoch % 3 == 2:
        generator.eval()
        with torch.no_grad():
            gen = generator(fixed_z)
        generator.train()
        print("  samples: mean %.3f (real %.3f), distance of mean images %.3f" % (
            gen.mean(), images.mean(), (gen.mean(0) - images.mean(0)).pow(2).mean()))

h = hashlib.sha256()
for net in (generator, discriminator):
    for p in net.parameters():
        h.update(p.detach().numpy().tobytes())
print("digest", h.hexdigest())
