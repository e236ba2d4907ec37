# base: cleanrl_dqn
# rule: WP604
# cause: eps-dominates
# line: optimizer = optim.Adam(q_network.parameters(), lr=args.learning_rate, eps=0.1)
# why: eps is far above sqrt(v) of nearly all weights, so Adam becomes slow momentum SGD with a tiny learning rate and Q hardly moves
# Deep Q-learning in one file; the cart with its pole is simulated below.
import hashlib
import math
import random
from collections import namedtuple
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim


@dataclass
class Args:
    seed: int = 3
    total_timesteps: int = 6000
    learning_rate: float = 2.5e-4
    buffer_size: int = 5000
    gamma: float = 0.97
    tau: float = 1.0
    target_network_frequency: int = 100
    batch_size: int = 64
    start_e: float = 1.0
    end_e: float = 0.05
    exploration_fraction: float = 0.5
    learning_starts: int = 800
    train_frequency: int = 2


class CartPole:
    """The usual equations of motion, Euler steps, +1 for every step upright; cut off at 150 steps."""

    obs_dim, n_actions = 4, 2

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.limit = 150

    def reset(self):
        self.s = self.rng.uniform(-0.05, 0.05, 4)
        self.t = 0
        return self.s.astype(np.float32)

    def step(self, a):
        x, xd, th, thd = self.s
        force = 10.0 if a == 1 else -10.0
        c, s = math.cos(th), math.sin(th)
        temp = (force + 0.05 * thd**2 * s) / 1.1
        thacc = (9.8 * s - c * temp) / (0.5 * (4.0 / 3.0 - 0.1 * c**2 / 1.1))
        xacc = temp - 0.05 * thacc * c / 1.1
        self.s = np.array([x + 0.02 * xd, xd + 0.02 * xacc, th + 0.02 * thd, thd + 0.02 * thacc])
        self.t += 1
        terminated = bool(abs(self.s[0]) > 2.4 or abs(self.s[2]) > 12 * math.pi / 180)
        truncated = self.t >= self.limit
        return self.s.astype(np.float32), 1.0, terminated, truncated


Batch = namedtuple("Batch", "observations actions next_observations rewards dones")


class ReplayBuffer:
    def __init__(self, size, obs_dim, device, seed=0):
        self.size, self.device = size, device
        self.obs = np.zeros((size, obs_dim), dtype=np.float32)
        self.next_obs = np.zeros((size, obs_dim), dtype=np.float32)
        self.actions = np.zeros((size, 1), dtype=np.int64)
        self.rewards = np.zeros(size, dtype=np.float32)
        self.dones = np.zeros(size, dtype=np.float32)
        self.pos, self.full = 0, False
        self.rng = np.random.default_rng(seed)

    def add(self, obs, next_obs, action, reward, done):
        i = self.pos
        self.obs[i], self.next_obs[i], self.actions[i], self.rewards[i], self.dones[i] = obs, next_obs, action, reward, done
        self.pos = (i + 1) % self.size
        self.full = self.full or self.pos == 0

    def sample(self, n):
        idx = self.rng.integers(0, self.size if self.full else self.pos, n)
        to = lambda a: torch.from_numpy(a[idx]).to(self.device)
        return Batch(to(self.obs), to(self.actions), to(self.next_obs), to(self.rewards), to(self.dones))


class QNetwork(nn.Module):
    def __init__(self, env):
        super().__init__()
        self.network = nn.Sequential(
            nn.Linear(env.obs_dim, 120),
            nn.ReLU(),
            nn.Linear(120, 84),
            nn.ReLU(),
            nn.Linear(84, env.n_actions),
        )

    def forward(self, x):
        x = x.to(self.network[0].weight.dtype)
        return self.network(x).float()


def linear_schedule(start_e, end_e, duration, t):
    slope = (end_e - start_e) / duration
    return max(slope * t + start_e, end_e)


if __name__ == "__main__":
    args = Args()
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    device = torch.device("cpu")

    env = CartPole(args.seed)
    q_network = QNetwork(env).to(device)
    optimizer = optim.Adam(q_network.parameters(), lr=args.learning_rate, eps=0.1)
    target_network = QNetwork(env).to(device)
    target_network.load_state_dict(q_network.state_dict())

    rb = ReplayBuffer(args.buffer_size, env.obs_dim, device, seed=args.seed)

    obs, ret, returns = env.reset(), 0.0, []
    for global_step in range(args.total_timesteps):
        epsilon = linear_schedule(args.start_e, args.end_e, args.exploration_fraction * args.total_timesteps, global_step)
        if random.random() < epsilon:
            action = random.randrange(env.n_actions)
        else:
            with torch.no_grad():
                q_values = q_network(torch.from_numpy(obs).to(device).unsqueeze(0))
            action = int(torch.argmax(q_values, dim=1).item())

        next_obs, reward, terminated, truncated = env.step(action)
        rb.add(obs, next_obs, action, reward, float(terminated))
        ret += reward
        obs = next_obs
        if terminated or truncated:
            returns.append(ret)
            obs, ret = env.reset(), 0.0

        # ALGO LOGIC: training
        if global_step > args.learning_starts:
            if global_step % args.train_frequency == 0:
                data = rb.sample(args.batch_size)
                with torch.no_grad():
                    target_max, _ = target_network(data.next_observations).max(dim=1)
                    td_target = data.rewards + args.gamma * target_max * (1 - data.dones)
                old_val = q_network(data.observations).gather(1, data.actions).squeeze()
                loss = F.mse_loss(td_target, old_val)

                if global_step % 600 == 0:
                    print(
                        f"global_step={global_step} td_loss={loss.item():.4f} q={old_val.mean().item():.2f} "
                        f"epsilon={epsilon:.2f} return={np.mean(returns[-10:]):.1f}"
                    )

                # optimize the model
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

            # update target network
            if global_step % args.target_network_frequency == 0:
                for target_param, q_param in zip(target_network.parameters(), q_network.parameters()):
                    target_param.data.copy_(args.tau * q_param.data + (1.0 - args.tau) * target_param.data)

    print(f"mean return of the last 10 episodes: {np.mean(returns[-10:]):.1f}")
    h = hashlib.sha256()
    for p in q_network.parameters():
        h.update(p.detach().float().cpu().numpy().tobytes())
    print("digest", h.hexdigest())
