"""https://github.com/huggingface/trl/pull/6140 (2026): entropy bonus of a clipped policy objective, entropies computed under no_grad."""

import math

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "huggingface/trl#6140"
KIND = "terms"
STEPS = 200
V, T = 12, 10


class Policy(nn.Module):
    def __init__(self, d=48):
        super().__init__()
        self.emb = nn.Embedding(V + 1, d)
        nn.init.normal_(self.emb.weight, std=0.3)
        self.rnn, self.head = nn.GRU(d, d, batch_first=True), nn.Linear(d, V)

    def forward(self, prompt, completion):
        h, _ = self.rnn(self.emb(torch.cat([prompt, completion[:, :-1]], 1)))
        return self.head(h[:, prompt.shape[1] - 1 :])


def data(seed, n=96):
    g = torch.Generator().manual_seed(seed)
    prompt = torch.randint(0, V, (n, 3), generator=g)
    comp = torch.randint(0, V, (n, T), generator=g)
    reward = ((comp - prompt[:, :1]) % V < V // 2).float().mean(1) + 0.05 * torch.randn(n, generator=g)
    return prompt, comp, (reward - reward.mean()) / reward.std()


def make(seed, fixed):
    torch.manual_seed(seed)
    m = Policy()
    prompt, comp, adv = data(1)
    old = torch.full(comp.shape, -math.log(V))

    def loss(logits, target):
        actions, A = target
        logp = logits.log_softmax(-1)
        ratio = (logp.gather(-1, actions[..., None])[..., 0] - old).exp()
        pg = -torch.minimum(ratio * A[:, None], ratio.clamp(0.8, 1.2) * A[:, None]).mean()
        with torch.set_grad_enabled(fixed):
            ent = -(logp.exp() * logp).sum(-1).mean()
        return pg - 0.05 * ent

    return m, loss, ({"prompt": prompt, "completion": comp}, (comp, adv)), torch.optim.Adam(m.parameters(), 1e-3)
