"""Double DQN on a replay batch: the target network is a frozen copy held by the loss, the bootstrap target is
computed under no_grad on purpose."""

import copy

import torch
import torch.nn as nn
import torch.nn.functional as F

OBS, ACT = 8, 4


class QNet(nn.Module):
    def __init__(self, h=64):
        super().__init__()
        self.body = nn.Sequential(nn.Linear(OBS, h), nn.ReLU(), nn.Linear(h, h), nn.ReLU())
        self.v, self.a = nn.Linear(h, 1), nn.Linear(h, ACT)

    def forward(self, obs, next_obs):
        def q(x):
            z = self.body(x)
            a = self.a(z)
            return self.v(z) + a - a.mean(-1, keepdim=True)

        with torch.no_grad():
            choice = q(next_obs).argmax(-1)  # action selection needs no gradient
        return q(obs), choice


def make(seed):
    torch.manual_seed(seed)
    B = 32
    model = QNet()
    target_net = copy.deepcopy(model).requires_grad_(False)
    obs, nxt = torch.randn(B, OBS), torch.randn(B, OBS)
    act = torch.randint(0, ACT, (B,))
    rew = torch.tanh((obs @ torch.randn(OBS, ACT)).gather(1, act[:, None]).squeeze(1))
    done = (torch.rand(B) < 0.2).float()

    def loss(out, t):
        q, choice = out
        act, rew, nxt, done = t
        with torch.no_grad():
            boot = target_net(nxt, nxt)[0].gather(1, choice[:, None]).squeeze(1)
            y = rew + 0.9 * (1 - done) * boot
        return F.smooth_l1_loss(q.gather(1, act[:, None]).squeeze(1), y)

    return model, loss, ((obs, nxt), (act, rew, nxt, done)), torch.optim.Adam(model.parameters(), lr=2e-3)
