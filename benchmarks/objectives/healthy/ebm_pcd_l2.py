import torch
import torch.nn as nn
import wellposed as wp


class CNNModel(nn.Module):
    """returns f(x) = -E(x)"""

    def __init__(self, c=8):
        super().__init__()
        self.cnn = nn.Sequential(nn.Conv2d(1, c, 5, stride=2, padding=2), nn.SiLU(),
                                 nn.Conv2d(c, 2 * c, 3, stride=2, padding=1), nn.SiLU(),
                                 nn.Flatten(), nn.Linear(2 * c * 9, 32), nn.SiLU(), nn.Linear(32, 1))

    def forward(self, x):
        return self.cnn(x).squeeze(-1)


class Sampler:
    def __init__(self, n, shape):
        self.examples = torch.rand(n, *shape) * 2 - 1

    def sample(self, model, steps=8, step_size=10., noise=0.005):
        fresh = torch.rand(len(self.examples)) < 0.05
        x = torch.where(fresh[:, None, None, None], torch.rand_like(self.examples) * 2 - 1, self.examples)
        for _ in range(steps):
            x = (x + noise * torch.randn_like(x)).clamp(-1, 1).requires_grad_(True)
            g, = torch.autograd.grad(-model(x).sum(), x)
            x = (x - step_size * g.clamp(-0.03, 0.03)).clamp(-1, 1).detach()
        self.examples = x
        return x


def problem(alpha=0.1):
    torch.manual_seed(0)
    real = -torch.ones(32, 1, 12, 12)
    for i, r in enumerate(torch.randint(0, 12, (32,))):
        real[i, 0, r] = 1.
    model, sampler = CNNModel(), Sampler(32, (1, 12, 12))

    def training_step(net):
        real_in = (real + 0.005 * torch.randn_like(real)).clamp(-1, 1)
        fake = sampler.sample(net)
        real_out, fake_out = net(torch.cat([real_in, fake])).chunk(2)
        reg_loss = alpha * (real_out ** 2 + fake_out ** 2).mean()
        cdiv_loss = fake_out.mean() - real_out.mean()
        return reg_loss + cdiv_loss

    return wp.TorchProblem(model, training_step, optimizer=torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0., 0.999)))
