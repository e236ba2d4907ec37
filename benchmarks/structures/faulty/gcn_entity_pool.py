"""https://github.com/qipeng/gcn-over-pruned-trees/issues/18 (2019): subject tokens have relative position 0, but so has the padding; padded nodes enter the max pooling."""

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "qipeng/gcn-over-pruned-trees#18"
KIND = "padding"
STEPS = 200
V, D, R = 40, 40, 5


class GCN(nn.Module):
    def __init__(self, fixed):
        super().__init__()
        self.fixed = fixed
        self.emb = nn.Embedding(V, D, padding_idx=0)
        nn.init.normal_(self.emb.weight[1:].data, std=0.4)
        self.lin = nn.ModuleList(nn.Linear(D, D) for _ in range(2))
        self.mlp = nn.Sequential(nn.Linear(2 * D, D), nn.ReLU(), nn.Linear(D, R))

    def forward(self, words, adj, subj_pos):
        pad = words == 0
        h = self.emb(words)
        deg = adj.sum(-1, keepdim=True) + 1
        for l in self.lin:
            h = h + torch.tanh(l((adj @ h + h) / deg))
        keep = subj_pos == 0
        if self.fixed:
            keep = keep & ~pad
        pool = lambda m: h.masked_fill(~m[..., None], -1e4).amax(1)
        return self.mlp(torch.cat([pool(~pad), pool(keep)], -1))


def data(seed, n=128, L=24):
    g = torch.Generator().manual_seed(seed)
    w, pos, adj, y = (
        torch.zeros(n, L, dtype=torch.long),
        torch.zeros(n, L, dtype=torch.long),
        torch.zeros(n, L, L),
        torch.zeros(n, dtype=torch.long),
    )
    for i in range(n):
        k = int(torch.randint(6, 18, (1,), generator=g))
        w[i, :k] = torch.randint(1, V, (k,), generator=g)
        s = int(torch.randint(0, k, (1,), generator=g))
        pos[i, :k] = torch.arange(k) - s
        for a in range(1, k):
            b = int(torch.randint(0, a, (1,), generator=g))
            adj[i, a, b] = adj[i, b, a] = 1
        y[i] = w[i, s] % R
    return {"words": w, "adj": adj, "subj_pos": pos}, y


def make(seed, fixed):
    torch.manual_seed(seed)
    m = GCN(fixed)
    return m, nn.CrossEntropyLoss(), data(1), torch.optim.Adam(m.parameters(), 3e-3)
