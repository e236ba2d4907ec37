import torch
import torch.nn as nn
import torch.nn.functional as F
import wellposed as wp


class ActorCritic(nn.Module):
    def __init__(self, n_obs=6, n_act=4):
        super().__init__()
        self.base = nn.GRU(n_obs, 32, batch_first=True)
        self.actor = nn.Linear(32, n_act)
        self.critic = nn.Linear(32, 1)

    def forward(self, x):
        h, _ = self.base(x)
        return self.actor(h), self.critic(h).squeeze(-1)


def a2c_loss(out, data, value_loss_coef=0.5, entropy_coef=0.01):
    logits, values = out
    actions, returns = data
    dist = torch.distributions.Categorical(logits=logits)
    advantages = returns - values
    action_loss = -(advantages.detach() * dist.log_prob(actions)).mean()
    value_loss = advantages.pow(2).mean()
    return value_loss * value_loss_coef + action_loss - dist.entropy().mean() * entropy_coef


def problem():
    torch.manual_seed(0)
    obs = torch.randn(16, 5, 6)
    actions = torch.randint(0, 4, (16, 5))
    rew = (actions == obs[..., :4].argmax(-1)).float()
    ret, R = [], torch.zeros(16)
    for t in reversed(range(5)):
        R = rew[:, t] + 0.9 * R
        ret.insert(0, R)
    model = ActorCritic()
    return wp.TorchProblem(model, a2c_loss, (obs, (actions, torch.stack(ret, 1))),
                           optimizer=torch.optim.RMSprop(model.parameters(), lr=7e-4, eps=1e-5, alpha=0.99))
