# base: ddpg_point_mass
# rule: WP602
# cause: leaks-into-other
# line: self.critic_optimizer.zero_grad()
# why: the critic is cleared after its step and not before backward: the gradient that the actor loss leaves in it is stepped next time, driving Q up.
"""DDPG on a one-dimensional point mass; replay buffer, target networks with Polyak averaging."""
import copy
import hashlib
import random
from collections import deque

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F


class PointMass:
    """Push a mass to the origin; the action is an acceleration in [-1, 1]."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def reset(self):
        self.p, self.v, self.t = self.rng.uniform(-1, 1), self.rng.uniform(-0.3, 0.3), 0
        return self.obs()

    def obs(self):
        return np.array([self.p, self.v], np.float32)

    def step(self, a):
        self.v = float(np.clip(self.v * 0.95 + 0.15 * a, -1, 1))
        self.p = float(np.clip(self.p + 0.15 * self.v, -2, 2))
        self.t += 1
        return self.obs(), -(self.p**2 + 0.1 * self.v**2 + 0.01 * a * a), self.t >= 40


def net(i, o, out=None):
    layers = [nn.Linear(i, 48), nn.ReLU(), nn.Linear(48, 48), nn.ReLU(), nn.Linear(48, o)]
    return nn.Sequential(*layers, out) if out else nn.Sequential(*layers)


class Agent:
    gamma, tau, batch_size = 0.95, 0.02, 64

    def __init__(self):
        self.actor, self.critic = net(2, 1, nn.Tanh()), net(3, 1)
        self.actor_target, self.critic_target = copy.deepcopy(self.actor), copy.deepcopy(self.critic)
        self.actor_optimizer = torch.optim.Adam(self.actor.parameters(), lr=1e-3)
        self.critic_optimizer = torch.optim.Adam(self.critic.parameters(), lr=2e-3)
        self.memory = deque(maxlen=20000)

    def act(self, s, noise):
        with torch.no_grad():
            a = self.actor(torch.from_numpy(s)).item()
        return float(np.clip(a + noise * random.gauss(0, 1), -1, 1))

    def learn(self):
        s, a, r, s2 = (torch.tensor(np.array(c), dtype=torch.float32) for c in zip(*random.sample(self.memory, self.batch_size)))
        a, r = a.unsqueeze(1), r.unsqueeze(1)
        # ---- critic
        with torch.no_grad():
            target = r + self.gamma * self.critic_target(torch.cat([s2, self.actor_target(s2)], 1))
        critic_loss = F.mse_loss(self.critic(torch.cat([s, a], 1)), target)
        critic_loss.backward()
        self.critic_optimizer.step()
        self.critic_optimizer.zero_grad()
        # ---- actor
        actor_loss = -self.critic(torch.cat([s, self.actor(s)], 1)).mean()
        self.actor_optimizer.zero_grad()
        actor_loss.backward()
        self.actor_optimizer.step()
        # ---- targets
        for net_, tgt in ((self.actor, self.actor_target), (self.critic, self.critic_target)):
            for p, q in zip(net_.parameters(), tgt.parameters()):
                q.data.mul_(1 - self.tau).add_(p.data, alpha=self.tau)
        return critic_loss.item(), actor_loss.item()


def main():
    random.seed(1)
    np.random.seed(1)
    torch.manual_seed(1)
    env, agent = PointMass(1), Agent()
    returns, losses = [], [(0.0, 0.0)]
    for episode in range(28):
        s, total, done = env.reset(), 0.0, False
        while not done:
            a = agent.act(s, 0.3)
            s2, r, done = env.step(a)
            agent.memory.append((s, a, r, s2))
            s, total = s2, total + r
            if len(agent.memory) >= 128:
                losses.append(agent.learn())
        returns.append(total)
        if episode % 6 == 3:
            c, al = np.mean(losses[-40:], 0)
            print(f"episode {episode} return {np.mean(returns[-6:]):.3f} critic loss {c:.5f} actor loss {al:.4f}")
    test, scores = PointMass(99), []
    for _ in range(20):
        s, total, done = test.reset(), 0.0, False
        while not done:
            s, r, done = test.step(agent.act(s, 0.0))
            total += r
        scores.append(total)
    print(f"metric {-np.mean(scores) + np.mean(losses[-40:], 0)[0]:.4f}")
    h = hashlib.sha256()
    for m in (agent.actor, agent.critic):
        for p in m.parameters():
            h.update(p.detach().numpy().tobytes())
    print("digest", h.hexdigest())


if __name__ == "__main__":
    main()
