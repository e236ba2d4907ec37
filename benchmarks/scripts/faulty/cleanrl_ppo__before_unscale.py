# base: cleanrl_ppo
# rule: WP603
# cause: before-unscale
# line: nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
# why: the gradients are clipped to 0.5 while still multiplied by the loss scale of 65536; once scaler.step divides them they are far below Adam's eps and the agent hardly learns
# Proximal policy optimisation in one file, on a little vectorised "steer to the goal" world.
import argparse
import hashlib
import random
import time
from functools import partial

import numpy as np
import torch
import torch.nn as nn
import torch.optim as optim
from torch.distributions.categorical import Categorical


def parse_args():
    p = argparse.ArgumentParser()
    p.add_argument("--exp-name", default="ppo_steer")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--torch-deterministic", type=bool, default=True)
    p.add_argument("--total-timesteps", type=int, default=10240)
    p.add_argument("--learning-rate", type=float, default=2.5e-3)
    p.add_argument("--num-envs", type=int, default=16)
    p.add_argument("--num-steps", type=int, default=32)
    p.add_argument("--anneal-lr", type=bool, default=True)
    p.add_argument("--gamma", type=float, default=0.9)
    p.add_argument("--gae-lambda", type=float, default=0.95)
    p.add_argument("--num-minibatches", type=int, default=4)
    p.add_argument("--update-epochs", type=int, default=4)
    p.add_argument("--norm-adv", type=bool, default=True)
    p.add_argument("--clip-coef", type=float, default=0.2)
    p.add_argument("--clip-vloss", type=bool, default=True)
    p.add_argument("--ent-coef", type=float, default=0.01)
    p.add_argument("--vf-coef", type=float, default=0.5)
    p.add_argument("--max-grad-norm", type=float, default=0.5)
    p.add_argument("--amp", type=bool, default=True)
    p.add_argument("--target-kl", type=float, default=None)
    args = p.parse_args()
    args.batch_size = args.num_envs * args.num_steps
    args.minibatch_size = args.batch_size // args.num_minibatches
    args.num_iterations = args.total_timesteps // args.batch_size
    return args


class SteerVecEnv:
    """A point on a plane, five actions (stay, left, right, down, up); the nearer to the goal, the better."""

    n_actions = 5
    obs_dim = 4
    moves = np.array([[0, 0], [-1, 0], [1, 0], [0, -1], [0, 1]], dtype=np.float32)

    def __init__(self, num_envs, horizon=24, seed=0):
        self.num_envs, self.horizon = num_envs, horizon
        self.rng = np.random.default_rng(seed)
        self.pos = np.zeros((num_envs, 2), dtype=np.float32)
        self.goal = np.zeros((num_envs, 2), dtype=np.float32)
        self.t = np.zeros(num_envs, dtype=np.int64)
        self.ret = np.zeros(num_envs, dtype=np.float32)

    def _new(self, mask):
        n = int(mask.sum())
        self.pos[mask] = self.rng.uniform(-1, 1, (n, 2))
        self.goal[mask] = self.rng.uniform(-1, 1, (n, 2))
        self.t[mask] = 0
        self.ret[mask] = 0.0

    def _obs(self):
        return np.concatenate([self.pos, self.goal - self.pos], axis=1).astype(np.float32)

    def reset(self):
        self._new(np.ones(self.num_envs, dtype=bool))
        # do not let all of them end at the same time
        self.t = self.rng.integers(0, self.horizon, self.num_envs)
        return self._obs()

    def step(self, action):
        self.pos = np.clip(self.pos + 0.15 * self.moves[action], -1.5, 1.5)
        reward = (0.25 * (0.5 - np.linalg.norm(self.goal - self.pos, axis=1))).astype(np.float32)
        self.t += 1
        self.ret += reward
        done = self.t >= self.horizon
        finished = self.ret[done].copy()
        if done.any():
            self._new(done)
        return self._obs(), reward, done, finished


def layer_init(layer, std=np.sqrt(2), bias_const=0.0):
    torch.nn.init.orthogonal_(layer.weight, std)
    torch.nn.init.constant_(layer.bias, bias_const)
    return layer


class Agent(nn.Module):
    def __init__(self, envs):
        super().__init__()
        self.critic = nn.Sequential(
            layer_init(nn.Linear(envs.obs_dim, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 1), std=1.0),
        )
        self.actor = nn.Sequential(
            layer_init(nn.Linear(envs.obs_dim, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, 64)),
            nn.Tanh(),
            layer_init(nn.Linear(64, envs.n_actions), std=0.01),
        )

    def get_value(self, x):
        return self.critic(x).float()

    def get_action_and_value(self, x, action=None):
        logits = self.actor(x).float()
        probs = Categorical(logits=logits)
        if action is None:
            action = probs.sample()
        return action, probs.log_prob(action), probs.entropy(), self.critic(x).float()


if __name__ == "__main__":
    args = parse_args()
    run_name = f"{args.exp_name}__{args.seed}"

    random.seed(args.seed)
    np.random.seed(args.seed)
    torch.manual_seed(args.seed)
    torch.backends.cudnn.deterministic = args.torch_deterministic
    device = torch.device("cpu")

    envs = SteerVecEnv(args.num_envs, seed=args.seed)
    agent = Agent(envs).to(device)
    optimizer = optim.Adam(agent.parameters(), lr=args.learning_rate, eps=1e-5)
    scaler = torch.amp.GradScaler("cpu", enabled=args.amp)
    autocast = partial(torch.autocast, "cpu", dtype=torch.bfloat16, enabled=args.amp)

    # storage
    obs = torch.zeros((args.num_steps, args.num_envs, envs.obs_dim)).to(device)
    actions = torch.zeros((args.num_steps, args.num_envs)).to(device)
    logprobs = torch.zeros((args.num_steps, args.num_envs)).to(device)
    rewards = torch.zeros((args.num_steps, args.num_envs)).to(device)
    dones = torch.zeros((args.num_steps, args.num_envs)).to(device)
    values = torch.zeros((args.num_steps, args.num_envs)).to(device)

    global_step = 0
    start_time = time.time()
    next_obs = torch.Tensor(envs.reset()).to(device)
    next_done = torch.zeros(args.num_envs).to(device)

    for iteration in range(1, args.num_iterations + 1):
        if args.anneal_lr:
            frac = 1.0 - (iteration - 1.0) / args.num_iterations
            lrnow = frac * args.learning_rate
            optimizer.param_groups[0]["lr"] = lrnow

        episodic_returns = []
        for step in range(0, args.num_steps):
            global_step += args.num_envs
            obs[step] = next_obs
            dones[step] = next_done

            with torch.no_grad(), autocast():
                action, logprob, _, value = agent.get_action_and_value(next_obs)
                values[step] = value.flatten()
            actions[step] = action
            logprobs[step] = logprob

            o, reward, done, finished = envs.step(action.cpu().numpy())
            rewards[step] = torch.tensor(reward).to(device).view(-1)
            next_obs, next_done = torch.Tensor(o).to(device), torch.Tensor(done).to(device)
            episodic_returns.extend(finished.tolist())

        # bootstrap the value where the rollout was cut off
        with torch.no_grad():
            with autocast():
                next_value = agent.get_value(next_obs).reshape(1, -1)
            advantages = torch.zeros_like(rewards).to(device)
            lastgaelam = 0
            for t in reversed(range(args.num_steps)):
                if t == args.num_steps - 1:
                    nextnonterminal = 1.0 - next_done
                    nextvalues = next_value
                else:
                    nextnonterminal = 1.0 - dones[t + 1]
                    nextvalues = values[t + 1]
                delta = rewards[t] + args.gamma * nextvalues * nextnonterminal - values[t]
                advantages[t] = lastgaelam = delta + args.gamma * args.gae_lambda * nextnonterminal * lastgaelam
            returns = advantages + values

        # flatten the batch
        b_obs = obs.reshape(-1, envs.obs_dim)
        b_logprobs = logprobs.reshape(-1)
        b_actions = actions.reshape(-1)
        b_advantages = advantages.reshape(-1)
        b_returns = returns.reshape(-1)
        b_values = values.reshape(-1)

        b_inds = np.arange(args.batch_size)
        clipfracs = []
        for epoch in range(args.update_epochs):
            np.random.shuffle(b_inds)
            for start in range(0, args.batch_size, args.minibatch_size):
                end = start + args.minibatch_size
                mb_inds = b_inds[start:end]

                with autocast():
                    _, newlogprob, entropy, newvalue = agent.get_action_and_value(
                        b_obs[mb_inds], b_actions.long()[mb_inds]
                    )
                logratio = newlogprob - b_logprobs[mb_inds]
                ratio = logratio.exp()

                with torch.no_grad():
                    approx_kl = ((ratio - 1) - logratio).mean()
                    clipfracs += [((ratio - 1.0).abs() > args.clip_coef).float().mean().item()]

                mb_advantages = b_advantages[mb_inds]
                if args.norm_adv:
                    mb_advantages = (mb_advantages - mb_advantages.mean()) / (mb_advantages.std() + 1e-8)

                # policy loss
                pg_loss1 = -mb_advantages * ratio
                pg_loss2 = -mb_advantages * torch.clamp(ratio, 1 - args.clip_coef, 1 + args.clip_coef)
                pg_loss = torch.max(pg_loss1, pg_loss2).mean()

                # value loss
                newvalue = newvalue.view(-1)
                if args.clip_vloss:
                    v_loss_unclipped = (newvalue - b_returns[mb_inds]) ** 2
                    v_clipped = b_values[mb_inds] + torch.clamp(newvalue - b_values[mb_inds], -args.clip_coef, args.clip_coef)
                    v_loss_clipped = (v_clipped - b_returns[mb_inds]) ** 2
                    v_loss = 0.5 * torch.max(v_loss_unclipped, v_loss_clipped).mean()
                else:
                    v_loss = 0.5 * ((newvalue - b_returns[mb_inds]) ** 2).mean()

                entropy_loss = entropy.mean()
                loss = pg_loss - args.ent_coef * entropy_loss + v_loss * args.vf_coef

                optimizer.zero_grad()
                scaler.scale(loss).backward()
                nn.utils.clip_grad_norm_(agent.parameters(), args.max_grad_norm)
                scaler.step(optimizer)
                scaler.update()

            if args.target_kl is not None and approx_kl > args.target_kl:
                break

        y_pred, y_true = b_values.cpu().numpy(), b_returns.cpu().numpy()
        var_y = np.var(y_true)
        explained_var = np.nan if var_y == 0 else 1 - np.var(y_true - y_pred) / var_y
        print(
            f"iteration={iteration} global_step={global_step} lr={optimizer.param_groups[0]['lr']:.2e} "
            f"return={np.mean(episodic_returns):.2f} v_loss={v_loss.item():.3f} pg_loss={pg_loss.item():.3f} "
            f"kl={approx_kl.item():.4f} ev={explained_var:.2f}"
        )
    print("SPS:", int(global_step / (time.time() - start_time)))

    h = hashlib.sha256()
    for p in agent.parameters():
        h.update(p.detach().cpu().numpy().tobytes())
    print("digest", h.hexdigest())
