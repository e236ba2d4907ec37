# base: cleanrl_sac
# rule: WP602
# cause: not-in-optimizer
# line: q_optimizer = optim.Adam(list(qf1.parameters()), lr=args.q_lr)
# why: the second critic gets gradients but no optimizer has it: it stays at its random start, and the minimum of the two critics, which actor and targets use, is often that of the untrained one
# Soft actor-critic, continuous actions, one file; alpha is tuned. World: bring a sliding mass to rest at the origin.
import argparse
import hashlib
import random

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
import torch.optim as optim

LOG_STD_MAX = 2
LOG_STD_MIN = -5


def parse_args():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--total-timesteps", type=int, default=900)
    parser.add_argument("--buffer-size", type=int, default=10000)
    parser.add_argument("--gamma", type=float, default=0.95)
    parser.add_argument("--tau", type=float, default=0.01)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--learning-starts", type=int, default=200)
    parser.add_argument("--policy-lr", type=float, default=1e-3)
    parser.add_argument("--q-lr", type=float, default=1e-3)
    parser.add_argument("--policy-frequency", type=int, default=2)
    parser.add_argument("--target-network-frequency", type=int, default=1)
    parser.add_argument("--alpha", type=float, default=0.2)
    parser.add_argument("--no-autotune", dest="autotune", action="store_false")
    parser.add_argument("--dtype", default="float32", help="dtype the networks are kept in")
    return parser.parse_args()


class SlidingMass:
    obs_dim, act_dim, max_action, horizon = 2, 1, 1.0, 40

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)

    def reset(self):
        self.x, self.v, self.t = self.rng.uniform(-1, 1), self.rng.uniform(-0.3, 0.3), 0
        return np.array([self.x, self.v], dtype=np.float32)

    def sample_action(self):
        return self.rng.uniform(-1, 1, self.act_dim).astype(np.float32)

    def step(self, action):
        u = float(np.clip(action[0], -1, 1))
        self.v = 0.95 * self.v + 0.12 * u
        self.x = float(np.clip(self.x + 0.5 * self.v, -2, 2))
        self.t += 1
        reward = 1.0 - (self.x**2 + 0.1 * self.v**2 + 0.01 * u**2)
        return np.array([self.x, self.v], dtype=np.float32), reward, False, self.t >= self.horizon


class ReplayBuffer:
    def __init__(self, n, obs_dim, act_dim, dtype):
        self.o = torch.zeros(n, obs_dim, dtype=dtype)
        self.o2 = torch.zeros(n, obs_dim, dtype=dtype)
        self.a = torch.zeros(n, act_dim, dtype=dtype)
        self.r = torch.zeros(n, dtype=dtype)
        self.d = torch.zeros(n, dtype=dtype)
        self.n, self.i, self.len = n, 0, 0

    def add(self, o, o2, a, r, d):
        i = self.i
        self.o[i] = torch.as_tensor(o)
        self.o2[i] = torch.as_tensor(o2)
        self.a[i] = torch.as_tensor(a)
        self.r[i] = float(r)
        self.d[i] = float(d)
        self.i = (i + 1) % self.n
        self.len = min(self.len + 1, self.n)

    def sample(self, k):
        idx = torch.from_numpy(np.random.randint(0, self.len, size=k))
        return self.o[idx], self.o2[idx], self.a[idx], self.r[idx], self.d[idx]


class SoftQNetwork(nn.Module):
    def __init__(self, env):
        super().__init__()
        self.fc1 = nn.Linear(env.obs_dim + env.act_dim, 64)
        self.fc2 = nn.Linear(64, 64)
        self.fc3 = nn.Linear(64, 1)

    def forward(self, x, a):
        x = torch.cat([x, a], 1)
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        return self.fc3(x)


class Actor(nn.Module):
    def __init__(self, env):
        super().__init__()
        self.fc1 = nn.Linear(env.obs_dim, 64)
        self.fc2 = nn.Linear(64, 64)
        self.fc_mean = nn.Linear(64, env.act_dim)
        self.fc_logstd = nn.Linear(64, env.act_dim)
        self.register_buffer("action_scale", torch.tensor(env.max_action))
        self.register_buffer("action_bias", torch.tensor(0.0))

    def forward(self, x):
        x = F.relu(self.fc1(x))
        x = F.relu(self.fc2(x))
        mean = self.fc_mean(x)
        log_std = torch.tanh(self.fc_logstd(x))
        log_std = LOG_STD_MIN + 0.5 * (LOG_STD_MAX - LOG_STD_MIN) * (log_std + 1)
        return mean, log_std

    def get_action(self, x):
        mean, log_std = self(x)
        normal = torch.distributions.Normal(mean, log_std.exp(), validate_args=False)
        x_t = normal.rsample()
        y_t = torch.tanh(x_t)
        action = y_t * self.action_scale + self.action_bias
        # log(1 - tanh(x)^2), the stable way
        log_prob = normal.log_prob(x_t) - (2 * (np.log(2) - x_t - F.softplus(-2 * x_t)) + torch.log(self.action_scale))
        return action, log_prob.sum(1, keepdim=True), torch.tanh(mean) * self.action_scale + self.action_bias


def main():
    args = parse_args()
    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    device = torch.device("cpu")
    dtype = getattr(torch, args.dtype)

    env = SlidingMass(args.seed)
    actor = Actor(env).to(device, dtype)
    qf1 = SoftQNetwork(env).to(device, dtype)
    qf2 = SoftQNetwork(env).to(device, dtype)
    qf1_target = SoftQNetwork(env).to(device, dtype)
    qf2_target = SoftQNetwork(env).to(device, dtype)
    qf1_target.load_state_dict(qf1.state_dict())
    qf2_target.load_state_dict(qf2.state_dict())
    q_optimizer = optim.Adam(list(qf1.parameters()), lr=args.q_lr)
    actor_optimizer = optim.Adam(list(actor.parameters()), lr=args.policy_lr)

    if args.autotune:
        target_entropy = -float(env.act_dim)
        log_alpha = torch.full((1,), float(np.log(args.alpha)), requires_grad=True, device=device)
        alpha = log_alpha.exp().item()
        a_optimizer = optim.Adam([log_alpha], lr=args.q_lr)
    else:
        alpha = args.alpha

    rb = ReplayBuffer(args.buffer_size, env.obs_dim, env.act_dim, dtype)
    obs, episode_return, episode_returns = env.reset(), 0.0, []
    for global_step in range(args.total_timesteps):
        if global_step < args.learning_starts:
            action = env.sample_action()
        else:
            with torch.no_grad():
                action, _, _ = actor.get_action(torch.as_tensor(obs, dtype=dtype, device=device).unsqueeze(0))
            action = action[0].float().cpu().numpy()

        next_obs, reward, terminated, truncated = env.step(action)
        rb.add(obs, next_obs, action, reward, terminated)
        episode_return += reward
        obs = next_obs
        if terminated or truncated:
            episode_returns.append(episode_return)
            obs, episode_return = env.reset(), 0.0

        if global_step > args.learning_starts:
            s_obs, s_next_obs, s_actions, s_rewards, s_dones = rb.sample(args.batch_size)
            with torch.no_grad():
                next_state_actions, next_state_log_pi, _ = actor.get_action(s_next_obs)
                qf1_next_target = qf1_target(s_next_obs, next_state_actions)
                qf2_next_target = qf2_target(s_next_obs, next_state_actions)
                min_qf_next_target = torch.min(qf1_next_target, qf2_next_target) - alpha * next_state_log_pi
                next_q_value = s_rewards + (1 - s_dones) * args.gamma * min_qf_next_target.view(-1)

            qf1_a_values = qf1(s_obs, s_actions).view(-1)
            qf2_a_values = qf2(s_obs, s_actions).view(-1)
            qf1_loss = F.mse_loss(qf1_a_values, next_q_value)
            qf2_loss = F.mse_loss(qf2_a_values, next_q_value)
            qf_loss = qf1_loss + qf2_loss

            q_optimizer.zero_grad()
            qf_loss.backward()
            q_optimizer.step()

            if global_step % args.policy_frequency == 0:
                for _ in range(args.policy_frequency):  # make up for the delay
                    pi, log_pi, _ = actor.get_action(s_obs)
                    qf1_pi = qf1(s_obs, pi)
                    qf2_pi = qf2(s_obs, pi)
                    min_qf_pi = torch.min(qf1_pi, qf2_pi)
                    actor_loss = ((alpha * log_pi) - min_qf_pi).mean()

                    actor_optimizer.zero_grad()
                    actor_loss.backward()
                    actor_optimizer.step()

                    if args.autotune:
                        with torch.no_grad():
                            _, log_pi, _ = actor.get_action(s_obs)
                        alpha_loss = (-log_alpha.exp() * (log_pi.float() + target_entropy)).mean()

                        a_optimizer.zero_grad()
                        alpha_loss.backward()
                        a_optimizer.step()
                        alpha = log_alpha.exp().item()

            if global_step % args.target_network_frequency == 0:
                for param, target_param in zip(qf1.parameters(), qf1_target.parameters()):
                    target_param.data.copy_(args.tau * param.data + (1 - args.tau) * target_param.data)
                for param, target_param in zip(qf2.parameters(), qf2_target.parameters()):
                    target_param.data.copy_(args.tau * param.data + (1 - args.tau) * target_param.data)

            if global_step % 100 == 0:
                print(
                    f"global_step={global_step} qf1_loss={qf1_loss.item():.4f} qf2_loss={qf2_loss.item():.4f} "
                    f"actor_loss={actor_loss.item():.4f} alpha={alpha:.4f} return={np.mean(episode_returns[-3:]):.2f}"
                )

    # a few greedy episodes
    test_env, total = SlidingMass(1000), []
    for _ in range(10):
        o, done, r_sum = test_env.reset(), False, 0.0
        while not done:
            with torch.no_grad():
                _, _, a = actor.get_action(torch.as_tensor(o, dtype=dtype).unsqueeze(0))
            o, r, _, done = test_env.step(a[0].float().numpy())
            r_sum += r
        total.append(r_sum)
    print(f"greedy return {np.mean(total):.3f}")

    sha = hashlib.sha256()
    for net in (actor, qf1, qf2):
        for p in net.parameters():
            sha.update(p.detach().float().cpu().numpy().tobytes())
    if args.autotune:
        sha.update(log_alpha.detach().numpy().tobytes())
    print("digest", sha.hexdigest())


if __name__ == "__main__":
    main()
