"""preference loss against a frozen reference copy, causal GRU language model"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
import copy


class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.g, self.o = nn.Embedding(20, 24), nn.GRU(24, 32, batch_first=True), nn.Linear(32, 20)

    def forward(self, x):
        return self.o(self.g(self.e(x))[0])


def logp(m, x):
    return m(x[:, :-1]).log_softmax(-1).gather(2, x[:, 1:, None]).squeeze(-1).sum(1)


def make(seed):
    torch.manual_seed(seed)
    m = LM()
    ref = copy.deepcopy(m).requires_grad_(False)
    w, l = torch.randint(0, 12, (24, 10)), torch.randint(8, 20, (24, 10))
    l[:, :3] = w[:, :3]
    with torch.no_grad():
        rw, rl = logp(ref, w), logp(ref, l)

    def loss(model):
        return -F.logsigmoid(0.1 * ((logp(model, w) - rw) - (logp(model, l) - rl))).mean()

    return m, loss, None, torch.optim.AdamW(m.parameters(), lr=1e-3)
