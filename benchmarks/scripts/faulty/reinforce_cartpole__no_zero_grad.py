# base: reinforce_cartpole
# rule: WP601
# cause: never-cleared
# line: policy_loss.backward()
# why: zero_grad is missing in finish_batch: the gradients of old episodes stay in the sum, the policy learnt is lost again.
"""REINFORCE with returns-to-go on a small vectorised cart-pole."""
import hashlib

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.distributions import Categorical


class CartPoleVec:
    """n carts side by side, plain Euler steps."""

    def __init__(self, n, seed, horizon=120):
        self.n, self.horizon = n, horizon
        self.rng = np.random.default_rng(seed)

    def reset(self):
        self.s = self.rng.uniform(-0.05, 0.05, (self.n, 4))
        self.t = 0
        self.alive = np.ones(self.n, bool)
        return self.s.astype(np.float32)

    def step(self, a):
        x, v, th, om = self.s.T
        force = np.where(a == 1, 10.0, -10.0)
        c, s = np.cos(th), np.sin(th)
        tmp = (force + 0.05 * om**2 * s) / 1.1
        al = (9.8 * s - c * tmp) / (0.5 * (4 / 3 - 0.1 * c**2 / 1.1))
        acc = tmp - 0.05 * al * c / 1.1
        new = np.stack([x + 0.02 * v, v + 0.02 * acc, th + 0.02 * om, om + 0.02 * al], 1)
        self.s = np.where(self.alive[:, None], new, self.s)
        reward = self.alive.astype(np.float32)
        self.alive &= (np.abs(self.s[:, 0]) < 2.4) & (np.abs(self.s[:, 2]) < 0.21)
        self.t += 1
        return self.s.astype(np.float32), reward, (not self.alive.any()) or self.t >= self.horizon


class Policy(nn.Module):
    def __init__(self):
        super().__init__()
        self.affine1 = nn.Linear(4, 64)
        self.affine2 = nn.Linear(64, 2)

    def forward(self, x):
        return self.affine2(torch.tanh(self.affine1(x)))


GAMMA = 0.98
scale = torch.tensor([1.0, 1.0, 8.0, 2.0])


def finish_batch(policy, optimizer, log_probs, rewards):
    R, returns = np.zeros(rewards[0].shape, np.float32), []
    for r in reversed(rewards):
        R = r + GAMMA * R * (r > 0)
        returns.insert(0, R)
    returns = torch.from_numpy(np.stack(returns).astype(np.float32))
    mask = torch.from_numpy(np.stack(rewards))
    mean = (returns * mask).sum() / mask.sum()
    std = (((returns - mean) ** 2 * mask).sum() / mask.sum()).sqrt()
    adv = (returns - mean) / (std + 1e-6) * mask
    policy_loss = -(torch.stack(log_probs) * adv).sum() / mask.sum()
    policy_loss.backward()
    optimizer.step()
    return policy_loss.item()


def main():
    torch.manual_seed(543)
    env = CartPoleVec(12, seed=543)
    policy = Policy()
    optimizer = torch.optim.SGD(policy.parameters(), lr=0.5, momentum=0.9)
    lengths = []
    for i_batch in range(45):
        state, done = env.reset(), False
        log_probs, rewards = [], []
        while not done:
            m = Categorical(logits=policy(torch.from_numpy(state) * scale))
            action = m.sample()
            log_probs.append(m.log_prob(action))
            state, reward, done = env.step(action.numpy())
            rewards.append(reward)
        loss = finish_batch(policy, optimizer, log_probs, rewards)
        lengths.append(float(np.stack(rewards).sum(0).mean()))
        if i_batch % 5 == 4:
            print(f"batch {i_batch + 1} loss {loss:.4f} mean length {np.mean(lengths[-10:]):.1f}")
    print(f"metric {-np.mean(lengths[-10:]):.2f}")
    sd = policy.state_dict()
    print("digest " + hashlib.sha256(b"".join(sd[k].numpy().tobytes() for k in sorted(sd))).hexdigest())


if __name__ == "__main__":
    main()
