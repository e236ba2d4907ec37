"""Denoising diffusion on 8x8 digits (in the shape of denoising-diffusion-pytorch).

Small conv net with sinusoidal timestep embedding, cosine schedule kept in buffers, EMA of the
weights for sampling, AdamW with a linear warm-up. Saves milestones and can go on from them.
"""
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
from torch.optim import AdamW
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.data import DataLoader, Dataset


def exists(x):
    return x is not None


def extract(a, t, shape):
    return a.gather(-1, t).reshape(t.shape[0], *((1,) * (len(shape) - 1)))


class SinusoidalPosEmb(nn.Module):
    def __init__(self, dim, theta=10000):
        super().__init__()
        self.dim, self.theta = dim, theta

    def forward(self, t):
        half = self.dim // 2
        freqs = torch.exp(torch.arange(half, device=t.device) * (-math.log(self.theta) / (half - 1)))
        ang = t[:, None].float() * freqs[None, :]
        return torch.cat((ang.sin(), ang.cos()), dim=-1)


class ResBlock(nn.Module):
    def __init__(self, cin, cout, temb, groups=4):
        super().__init__()
        self.mlp = nn.Sequential(nn.SiLU(), nn.Linear(temb, cout * 2))
        self.norm1, self.norm2 = nn.GroupNorm(groups, cout), nn.GroupNorm(groups, cout)
        self.conv1 = nn.Conv2d(cin, cout, 3, padding=1)
        self.conv2 = nn.Conv2d(cout, cout, 3, padding=1)
        self.skip = nn.Conv2d(cin, cout, 1) if cin != cout else nn.Identity()

    def forward(self, x, temb):
        scale, shift = self.mlp(temb)[:, :, None, None].chunk(2, dim=1)
        h = self.norm1(self.conv1(x)) * (scale + 1) + shift
        h = self.norm2(self.conv2(F.silu(h)))
        return F.silu(h) + self.skip(x)


class TinyUnet(nn.Module):
    def __init__(self, dim=16, channels=1):
        super().__init__()
        temb = dim * 2
        self.time_mlp = nn.Sequential(SinusoidalPosEmb(dim), nn.Linear(dim, temb), nn.GELU(), nn.Linear(temb, temb))
        self.init_conv = nn.Conv2d(channels, dim, 3, padding=1)
        self.down = ResBlock(dim, dim, temb)
        self.pool = nn.Conv2d(dim, dim * 2, 4, 2, 1)
        self.mid = ResBlock(dim * 2, dim * 2, temb)
        self.up = nn.Sequential(nn.Upsample(scale_factor=2, mode="nearest"), nn.Conv2d(dim * 2, dim, 3, padding=1))
        self.final = ResBlock(dim * 2, dim, temb)
        self.out = nn.Conv2d(dim, channels, 1)

    def forward(self, x, t):
        temb = self.time_mlp(t)
        x = self.init_conv(x)
        h = self.down(x, temb)
        m = self.mid(self.pool(h), temb)
        return self.out(self.final(torch.cat((self.up(m), h), dim=1), temb))


def cosine_beta_schedule(timesteps, s=0.008):
    x = torch.linspace(0, timesteps, timesteps + 1, dtype=torch.float64) / timesteps
    ac = torch.cos((x + s) / (1 + s) * math.pi * 0.5) ** 2
    ac = ac / ac[0]
    return torch.clip(1 - ac[1:] / ac[:-1], 0, 0.999)


class GaussianDiffusion(nn.Module):
    def __init__(self, model, image_size=8, timesteps=100):
        super().__init__()
        self.model = model
        self.image_size, self.num_timesteps = image_size, timesteps
        betas = cosine_beta_schedule(timesteps)
        alphas = 1.0 - betas
        acp = torch.cumprod(alphas, dim=0)
        acp_prev = F.pad(acp[:-1], (1, 0), value=1.0)
        reg = lambda name, v: self.register_buffer(name, v.to(torch.float32))
        reg("betas", betas)
        reg("sqrt_acp", acp.sqrt())
        reg("sqrt_one_minus_acp", (1 - acp).sqrt())
        reg("sqrt_recip_alphas", (1 / alphas).sqrt())
        reg("posterior_variance", betas * (1 - acp_prev) / (1 - acp))

    def q_sample(self, x0, t, noise):
        return extract(self.sqrt_acp, t, x0.shape) * x0 + extract(self.sqrt_one_minus_acp, t, x0.shape) * noise

    def forward(self, img, t=None, noise=None):
        b = img.shape[0]
        if not exists(t):
            t = torch.randint(0, self.num_timesteps, (b,), device=img.device)
        if not exists(noise):
            noise = torch.randn_like(img)
        x = self.q_sample(img * 2 - 1, t, noise)
        return F.mse_loss(self.model(x, t), noise)

    @torch.inference_mode()
    def sample(self, n, generator):
        x = torch.randn(n, 1, self.image_size, self.image_size, generator=generator)
        for i in reversed(range(self.num_timesteps)):
            t = torch.full((n,), i, dtype=torch.long)
            eps = self.model(x, t)
            mean = extract(self.sqrt_recip_alphas, t, x.shape) * (
                x - extract(self.betas, t, x.shape) / extract(self.sqrt_one_minus_acp, t, x.shape) * eps)
            x = mean
            if i > 0:
                x = x + extract(self.posterior_variance, t, x.shape).sqrt() * torch.randn(x.shape, generator=generator)
        return (x.clamp(-1, 1) + 1) * 0.5


class EMA:
    def __init__(self, model, beta=0.98):
        self.beta = beta
        self.ema_model = copy.deepcopy(model).requires_grad_(False).eval()

    @torch.no_grad()
    def update(self, model):
        for pe, p in zip(self.ema_model.parameters(), model.parameters()):
            pe.lerp_(p, 1 - self.beta)

    def state_dict(self):
        return self.ema_model.state_dict()

    def load_state_dict(self, sd):
        self.ema_model.load_state_dict(sd)


class DigitsDataset(Dataset):
    def __init__(self, train=True):
        images = torch.from_numpy(load_digits().images).float()[:, None] / 16.0
        self.images = images[:1536] if train else images[1536:]

    def __len__(self):
        return len(self.images)

    def __getitem__(self, i):
        return self.images[i]


class Trainer:
    def __init__(self, args):
        self.args = args
        self.diffusion = GaussianDiffusion(TinyUnet(args.dim), timesteps=args.timesteps)
        self.g = torch.Generator().manual_seed(args.seed)
        self.dl = DataLoader(DigitsDataset(True), batch_size=args.batch_size, shuffle=True, drop_last=True, generator=self.g)
        self.val_dl = DataLoader(DigitsDataset(False), batch_size=128)
        self.opt = AdamW(self.diffusion.parameters(), lr=args.lr, betas=(0.9, 0.99), weight_decay=1e-4)
        self.sched = LambdaLR(self.opt, lambda step: min(1.0, step / args.warmup_steps))
        self.ema = EMA(self.diffusion, args.ema_decay)
        self.step, self.epoch = 0, 0

    def save(self, path):
        torch.save({
            "step": self.step,
            "epoch": self.epoch,
            "model": self.diffusion.state_dict(),
            "opt": self.opt.state_dict(),
            "sched": self.sched.state_dict(),
            "ema": self.ema.state_dict(),
            "loader_rng": self.g.get_state(),
            "rng": torch.get_rng_state(),
        }, path)

    def load(self, path):
        data = torch.load(path, map_location="cpu")
        self.step, self.epoch = data["step"], data["epoch"]
        self.diffusion.load_state_dict(data["model"])
        self.opt.load_state_dict(data["opt"])
        self.sched.load_state_dict(data["sched"])
        self.ema.load_state_dict(data["ema"])
        self.g.set_state(data["loader_rng"])
        torch.set_rng_state(data["rng"])

    @torch.no_grad()
    def evaluate(self):
        g = torch.Generator().manual_seed(1234)
        total, n = 0.0, 0
        for img in self.val_dl:
            t = torch.randint(0, self.args.timesteps, (len(img),), generator=g)
            noise = torch.randn(img.shape, generator=g)
            total += self.ema.ema_model(img, t, noise).item() * len(img)
            n += len(img)
        return total / n

    def train(self, until_epoch):
        while self.epoch < until_epoch:
            self.diffusion.train()
            for img in self.dl:
                loss = self.diffusion(img)
                loss.backward()
                nn.utils.clip_grad_norm_(self.diffusion.parameters(), self.args.max_grad_norm)
                self.opt.step()
                self.sched.step()
                self.opt.zero_grad(set_to_none=True)
                self.ema.update(self.diffusion)
                if self.step % 12 == 0:
                    print(f"step {self.step} loss {loss.item():.4f} lr {self.sched.get_last_lr()[0]:.2e}")
                self.step += 1
            self.epoch += 1
            print(f"epoch {self.epoch} ema val loss {self.evaluate():.4f}")


def main():
    p = argparse.ArgumentParser()
    p.add_argument("--dim", type=int, default=16)
    p.add_argument("--timesteps", type=int, default=100)
    p.add_argument("--batch_size", type=int, default=64)
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--warmup_steps", type=int, default=20)
    p.add_argument("--epochs", type=int, default=4)
    p.add_argument("--milestone", type=int, default=2, help="epoch at which to save and go on from the file; 0: never")
    p.add_argument("--ema_decay", type=float, default=0.98)
    p.add_argument("--max_grad_norm", type=float, default=1.0)
    p.add_argument("--seed", type=int, default=0)
    args = p.parse_args()
    torch.manual_seed(args.seed)

    trainer = Trainer(args)
    if args.milestone:
        trainer.train(args.milestone)
        with tempfile.TemporaryDirectory() as d:
            path = os.path.join(d, f"model-{trainer.step}.pt")
            trainer.save(path)
            trainer = Trainer(args)
            trainer.load(path)
        print(f"resumed at step {trainer.step}")
    trainer.train(args.epochs)

    imgs = trainer.ema.ema_model.sample(4, torch.Generator().manual_seed(7))
    print("sample mean/std", round(imgs.mean().item(), 3), round(imgs.std().item(), 3))
    h = hashlib.sha256()
    for q in trainer.diffusion.parameters():
        h.update(q.detach().numpy().tobytes())
    print("digest", h.hexdigest())


if __name__ == "__main__":
    main()
