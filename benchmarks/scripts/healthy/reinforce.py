import argparse
import hashlib
import math
from collections import deque
from itertools import count

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim
from torch.distributions import Categorical

parser = argparse.ArgumentParser(description='REINFORCE with a baseline on a small pole')
parser.add_argument('--gamma', type=float, default=0.97)
parser.add_argument('--lr', type=float, default=1e-2)
parser.add_argument('--value-lr', type=float, default=2e-2)
parser.add_argument('--seed', type=int, default=543)
parser.add_argument('--episodes', type=int, default=150)
parser.add_argument('--log-interval', type=int, default=10)
args = parser.parse_args()


class PoleEnv:
    """An inverted pendulum on a fixed hinge, pushed left or right."""
    max_steps = 100

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def reset(self):
        self.theta, self.omega = self.rng.uniform(-0.05, 0.05, size=2)
        self.t = 0
        return self._obs()

    def _obs(self):
        return np.array([self.theta / 0.2, self.omega], dtype=np.float32)

    def step(self, action):
        push = 1.5 if action == 1 else -1.5
        self.omega += 0.05 * (9.8 * math.sin(self.theta) + push + self.rng.normal() * 0.3)
        self.theta += 0.05 * self.omega
        self.t += 1
        fallen = abs(self.theta) > 0.2
        return self._obs(), (0.0 if fallen else 1.0), fallen, self.t >= self.max_steps


env = PoleEnv(args.seed)
torch.manual_seed(args.seed)


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(2, 64)
        self.dropout = nn.Dropout(p=0.1)
        self.affine2 = nn.Linear(64, 2)
        self.value_head = nn.Linear(64, 1)
        self.saved = []
        self.rewards = []

    def forward(self, x):
        x = F.relu(self.dropout(self.affine1(x)))
        return F.softmax(self.affine2(x), dim=1), self.value_head(x)


policy = Policy()
optimizer = optim.Adam(
    [p for n, p in policy.named_parameters() if not n.startswith('value_head')], lr=args.lr)
value_optimizer = optim.Adam(policy.value_head.parameters(), lr=args.value_lr)
eps = np.finfo(np.float32).eps.item()


def select_action(state):
    state = torch.from_numpy(state).float().unsqueeze(0)
    probs, value = policy(state)
    m = Categorical(probs)
    action = m.sample()
    policy.saved.append((m.log_prob(action), value.view(-1)))
    return action.item()


def finish_episode():
    R = 0
    returns = deque()
    for r in policy.rewards[::-1]:
        R = r + args.gamma * R
        returns.appendleft(R)
    returns = torch.tensor(returns)
    returns = (returns - returns.mean()) / (returns.std() + eps)
    policy_loss, value_loss = [], []
    for (log_prob, value), R in zip(policy.saved, returns):
        advantage = R - value.item()
        policy_loss.append(-log_prob * advantage)
        value_loss.append(F.smooth_l1_loss(value, R.view(1)))
    optimizer.zero_grad()
    value_optimizer.zero_grad()
    loss = torch.cat(policy_loss).sum() + torch.stack(value_loss).sum()
    loss.backward()
    optimizer.step()
    value_optimizer.step()
    del policy.rewards[:]
    del policy.saved[:]
    return loss.item()


def main():
    running_reward = 10
    for i_episode in range(1, args.episodes + 1):
        state = env.reset()
        ep_reward = 0
        for t in count(1):
            action = select_action(state)
            state, reward, terminated, truncated = env.step(action)
            policy.rewards.append(reward)
            ep_reward += reward
            if terminated or truncated:
                break
        running_reward = 0.05 * ep_reward + (1 - 0.05) * running_reward
        loss = finish_episode()
        if i_episode % args.log_interval == 0:
            print('Episode {}\tLoss: {:.3f}\tLast reward: {:.2f}\tAverage reward: {:.2f}'.format(
                i_episode, loss, ep_reward, running_reward))
    h = hashlib.sha256()
    for p in policy.parameters():
        h.update(p.detach().numpy().tobytes())
    print('digest', h.hexdigest())


if __name__ == '__main__':
    main()
