import torch
import torch.nn as nn
from torch.distributions.normal import Normal
import wellposed as wp


def layer_init(layer, std=2 ** 0.5):
    nn.init.orthogonal_(layer.weight, std)
    nn.init.zeros_(layer.bias)
    return layer


class Agent(nn.Module):
    def __init__(self, n_obs=5, n_act=2):
        super().__init__()
        self.critic = nn.Sequential(layer_init(nn.Linear(n_obs, 32)), nn.Tanh(), layer_init(nn.Linear(32, 1), 1.))
        self.actor_mean = nn.Sequential(layer_init(nn.Linear(n_obs, 32)), nn.Tanh(),
                                        layer_init(nn.Linear(32, n_act), 0.01))
        self.actor_logstd = nn.Parameter(torch.zeros(1, n_act))

    def forward(self, b):
        mean = self.actor_mean(b["obs"])
        probs = Normal(mean, self.actor_logstd.expand_as(mean).exp())
        return probs.log_prob(b["act"]).sum(1), probs.entropy().sum(1), self.critic(b["obs"]).view(-1)


def ppo_loss(out, b, clip_coef=0.2, ent_coef=0.01, vf_coef=0.5):
    newlogprob, entropy, newvalue = out
    ratio = (newlogprob - b["logprob"]).exp()
    adv = (b["adv"] - b["adv"].mean()) / (b["adv"].std() + 1e-8)
    pg_loss1 = -adv * ratio
    pg_loss2 = -adv * torch.clamp(ratio, 1 - clip_coef, 1 + clip_coef)
    pg_loss = torch.max(pg_loss1, pg_loss2).mean()
    v_loss = 0.5 * ((newvalue - b["ret"]) ** 2).mean()
    return pg_loss - ent_coef * entropy.mean() + vf_coef * v_loss


def problem():
    torch.manual_seed(0)
    agent = Agent()
    obs = torch.randn(128, 5)
    with torch.no_grad():
        m = agent.actor_mean(obs)
        act = m + torch.randn_like(m)
        logprob = Normal(m, 1.).log_prob(act).sum(1)
        ret = -((act - obs[:, :2]) ** 2).sum(1)
        adv = ret - agent.critic(obs).view(-1)
    batch = ({"obs": obs, "act": act}, {"logprob": logprob, "adv": adv, "ret": ret})
    return wp.TorchProblem(agent, ppo_loss, batch, optimizer=torch.optim.Adam(agent.parameters(), lr=3e-4, eps=1e-5))
