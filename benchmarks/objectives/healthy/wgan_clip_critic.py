import torch
import torch.nn as nn
import wellposed as wp


def problem(clip_value=0.01):
    torch.manual_seed(0)
    generator = nn.Sequential(nn.Linear(16, 64), nn.LeakyReLU(0.2), nn.Linear(64, 64), nn.Tanh())
    critic = nn.Sequential(nn.Linear(64, 64), nn.LeakyReLU(0.2), nn.Linear(64, 32), nn.LeakyReLU(0.2),
                           nn.Linear(32, 1))
    t = torch.linspace(0, 6.28, 64)
    real_imgs = torch.sin(t * (1 + torch.rand(64, 1)) + 6.28 * torch.rand(64, 1))
    fake_imgs = generator(torch.randn(64, 16)).detach()

    optimizer_D = torch.optim.RMSprop(critic.parameters(), lr=5e-5)

    def clip(opt, args, kwargs):
        with torch.no_grad():
            for p in critic.parameters():
                p.clamp_(-clip_value, clip_value)

    clip(None, None, None)
    optimizer_D.register_step_post_hook(clip)

    def loss_D(D):
        return -torch.mean(D(real_imgs)) + torch.mean(D(fake_imgs))

    return wp.TorchProblem(critic, loss_D, optimizer=optimizer_D)
