"""on-policy REINFORCE with a batch-mean baseline and an entropy bonus"""

import torch
from torch import nn

torch.set_num_threads(1)


def make(seed):
    torch.manual_seed(seed)
    s = torch.randn(96, 5)
    m = nn.Sequential(nn.Linear(5, 48), nn.ReLU(), nn.Linear(48, 4))
    best = (s[:, 0] > 0).long() * 2 + (s[:, 1] > 0).long()

    def loss(model):
        lp = model(s).log_softmax(-1)
        a = torch.multinomial(lp.detach().exp(), 1)
        r = (a[:, 0] == best).float()
        H = -(lp.exp() * lp).sum(-1)
        return -(lp.gather(1, a)[:, 0] * (r - r.mean())).mean() - 0.02 * H.mean()

    return m, loss, None, torch.optim.Adam(m.parameters(), lr=2e-3)
