import torch
import torch.nn as nn
import torch.nn.functional as F
import wellposed as wp

LOG_STD_MAX, LOG_STD_MIN = 2, -5


class SquashedActor(nn.Module):
    def __init__(self, obs, act):
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(obs, 48), nn.Linear(48, 48)
        self.fc_mean, self.fc_logstd = nn.Linear(48, act), nn.Linear(48, act)

    def forward(self, x):
        x = F.relu(self.fc2(F.relu(self.fc1(x))))
        mean, log_std = self.fc_mean(x), torch.tanh(self.fc_logstd(x))
        log_std = LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (log_std + 1)
        normal = torch.distributions.Normal(mean, log_std.exp())
        x_t = normal.rsample()
        y_t = torch.tanh(x_t)
        log_prob = (normal.log_prob(x_t) - torch.log(1 - y_t.pow(2) + 1e-6)).sum(1, keepdim=True)
        return y_t, log_prob


class SoftQ(nn.Module):
    def __init__(self, obs, act):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(obs + act, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, 1))

    def forward(self, x, a):
        return self.net(torch.cat([x, a], 1))


def problem():
    torch.manual_seed(0)
    actor, qf1, qf2 = SquashedActor(6, 2), SoftQ(6, 2), SoftQ(6, 2)
    alpha = 0.2
    obs = torch.randn(128, 6)

    def actor_loss(out, observations):
        pi, log_pi = out
        min_qf_pi = torch.min(qf1(observations, pi), qf2(observations, pi))
        return ((alpha * log_pi) - min_qf_pi).mean()

    return wp.TorchProblem(actor, actor_loss, (obs, obs), optimizer=torch.optim.Adam(actor.parameters(), lr=3e-4))
