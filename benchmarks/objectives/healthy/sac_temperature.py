import torch
import torch.nn as nn
import wellposed as wp


class Temperature(nn.Module):
    def __init__(self, init=1.0):
        super().__init__()
        self.log_alpha = nn.Parameter(torch.tensor(float(init)).log())

    def forward(self, log_prob):
        return self.log_alpha.exp(), log_prob


def problem():
    torch.manual_seed(0)
    act_dim = 3
    mean, std = torch.randn(256, act_dim), 0.5
    u = mean + std * torch.randn(256, act_dim)
    log_prob = torch.distributions.Normal(mean, std).log_prob(u) - torch.log(1 - torch.tanh(u) ** 2 + 1e-6)
    log_prob = log_prob.sum(-1)
    target_entropy = torch.full((256,), -float(act_dim))

    def alpha_loss(out, target):
        alpha, lp = out
        return (alpha * (-lp - target).detach()).mean()

    temp = Temperature(0.2)
    return wp.TorchProblem(temp, alpha_loss, (log_prob, target_entropy),
                           optimizer=torch.optim.Adam(temp.parameters(), lr=3e-4))
