"""https://github.com/DeepReinforcementLearning/DeepReinforcementLearningInAction/issues/32 (2021): nn.Softmax(dim=0) works for a single state, but on the batch of an episode it normalises over the states, not over the actions."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "DeepReinforcementLearning/DeepReinforcementLearningInAction#32"
KIND = "range"
STEPS = 150


def discounted(rewards, gamma=0.99):
    out, acc = torch.zeros_like(rewards), 0.0
    for i in reversed(range(len(rewards))):
        acc = rewards[i] + gamma * acc
        out[i] = acc
    return out / out.max()


def episode(seed, n=200):
    """pole-like linear system pushed left or right by a noisy hand-made controller"""
    g = torch.Generator().manual_seed(seed)
    s, S, A, R = torch.zeros(4), [], [], []
    for _ in range(n):
        good = int(s[2] + 0.5 * s[3] > 0)
        a = good if torch.rand((), generator=g) < 0.7 else 1 - good
        S.append(s)
        A.append(a)
        R.append(float(a == good))
        f = 2.0 * a - 1
        s = torch.stack(
            [s[0] + 0.1 * s[1], 0.95 * s[1] + 0.1 * f, s[2] + 0.1 * s[3], 0.9 * s[3] + 0.3 * s[2] - 0.2 * f]
        ) + 0.05 * torch.randn(4, generator=g)
    S = torch.stack(S)
    return (S - S.mean(0)) / S.std(0), torch.tensor(A), torch.tensor(R)


def make(seed, fixed, l1=4, l2=150, l3=2):
    torch.manual_seed(seed)
    states, actions, r = episode(seed)
    model = nn.Sequential(nn.Linear(l1, l2), nn.LeakyReLU(), nn.Linear(l2, l3), nn.Softmax(dim=1 if fixed else 0))
    disc = 0.5 * r + 0.5 * discounted(r)

    def loss_fn(preds, target):
        act, ret = target
        prob = preds.gather(1, act.long().view(-1, 1)).squeeze(1)
        return -(ret * torch.log(prob + 1e-8)).mean()

    return model, loss_fn, (states, (actions, disc)), torch.optim.Adam(model.parameters(), lr=2e-3)
