import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical
import wellposed as wp


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(4, 32)
        self.dropout = nn.Dropout(p=0.3)
        self.affine2 = nn.Linear(32, 2)

    def forward(self, x):
        x = F.relu(self.dropout(self.affine1(x)))
        return F.softmax(self.affine2(x), dim=1)


def discounted(rewards, gamma=0.99):
    R, out = 0., []
    for r in reversed(rewards):
        R = r + gamma * R
        out.insert(0, R)
    out = torch.tensor(out)
    return (out - out.mean()) / (out.std() + 1e-7)


def problem():
    torch.manual_seed(0)
    policy = Policy()
    # one recorded episode
    states, actions, rewards = [], [], []
    s = 0.05 * torch.randn(4)
    A = torch.eye(4) + 0.05 * torch.randn(4, 4)
    for _ in range(60):
        with torch.no_grad():
            a = Categorical(policy(s[None])).sample().item()
        states.append(s)
        actions.append(a)
        s = A @ s + torch.tensor([0., .1, 0., -.1]) * (2 * a - 1)
        s = s.clamp(-3, 3)
        rewards.append(1.0 - s[0].abs().item())
    batch = (torch.stack(states), {"action": torch.tensor(actions), "return": discounted(rewards)})

    def finish_episode(probs, mem):
        log_prob = Categorical(probs).log_prob(mem["action"])
        return (-log_prob * mem["return"]).sum()

    return wp.TorchProblem(policy, finish_episode, batch, optimizer=torch.optim.Adam(policy.parameters(), lr=1e-2))
