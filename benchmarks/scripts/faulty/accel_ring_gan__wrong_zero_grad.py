# base: accel_ring_gan
# rule: WP601
# cause: other-optimizer
# line: opt_d.zero_grad()
# why: copied line: the generator part clears the discriminator optimizer, the gradients of the generator pile up over all steps.
"""A GAN on a ring of Gaussians, trained through accelerate with two prepared optimizers."""
import hashlib
import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.utils import set_seed
from torch.utils.data import DataLoader, TensorDataset

LATENT = 8


def ring(n, seed):
    g = torch.Generator().manual_seed(seed)
    k = torch.randint(0, 8, (n,), generator=g)
    centre = torch.stack([torch.cos(k * math.pi / 4), torch.sin(k * math.pi / 4)], 1)
    return centre * 1.4 + 0.05 * torch.randn(n, 2, generator=g)


def mlp(i, o, act):
    return nn.Sequential(nn.Linear(i, 64), act, nn.Linear(64, 64), act, nn.Linear(64, o))


def adversarial_loss(logits, real):
    return F.binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def main():
    accelerator = Accelerator(cpu=True)
    set_seed(11)
    loader = DataLoader(TensorDataset(ring(4096, 3)), batch_size=128, shuffle=True)
    generator, discriminator = mlp(LATENT, 2, nn.ReLU()), mlp(2, 1, nn.LeakyReLU(0.2))
    opt_g = torch.optim.Adam(generator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    opt_d = torch.optim.Adam(discriminator.parameters(), lr=1e-3, betas=(0.5, 0.999))
    generator, discriminator, opt_g, opt_d, loader = accelerator.prepare(generator, discriminator, opt_g, opt_d, loader)

    step = 0
    for epoch in range(20):
        for (real,) in loader:
            # --- discriminator
            z = torch.randn(len(real), LATENT, device=accelerator.device)
            fake = generator(z)
            d_loss = 0.5 * (adversarial_loss(discriminator(real), 1) + adversarial_loss(discriminator(fake.detach()), 0))
            opt_d.zero_grad()
            accelerator.backward(d_loss)
            opt_d.step()

            # --- generator (the discriminator only passes the gradient on)
            discriminator.requires_grad_(False)
            g_loss = adversarial_loss(discriminator(fake), 1)
            opt_d.zero_grad()
            accelerator.backward(g_loss)
            opt_g.step()
            discriminator.requires_grad_(True)

            step += 1
        if epoch % 4 == 3:
            accelerator.print(f"step {step} g {g_loss.item():.4f} d {d_loss.item():.4f}")

    with torch.no_grad():
        sample, ref = generator(torch.randn(1024, LATENT)), ring(1024, 4)
        energy = 2 * torch.cdist(sample, ref).mean() - torch.cdist(sample, sample).mean() - torch.cdist(ref, ref).mean()
    accelerator.print(f"metric {energy.item():.4f}")
    params = list(accelerator.unwrap_model(generator).parameters()) + list(accelerator.unwrap_model(discriminator).parameters())
    accelerator.print("digest", hashlib.sha256(b"".join(p.detach().numpy().tobytes() for p in params)).hexdigest())


if __name__ == "__main__":
    main()
