"""https://github.com/InseeFrLab/torchTextClassifiers/pull/92 (2026): label attention hands scaled_dot_product_attention a mask that is true at the padding."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "InseeFrLab/torchTextClassifiers#92"
KIND = "padding"
STEPS = 200
V, C, D = 60, 6, 40


class LabelAttention(nn.Module):
    def __init__(self, fixed):
        super().__init__()
        self.fixed = fixed
        self.labels = nn.Parameter(torch.randn(C, D) / D**0.5)
        self.k, self.v = nn.Linear(D, D, bias=False), nn.Linear(D, D)

    def forward(self, x, keep):
        q = self.labels.unflatten(-1, (4, D // 4)).transpose(0, 1).expand(len(x), -1, -1, -1)
        k, v = (f(x).unflatten(-1, (4, D // 4)).transpose(1, 2) for f in (self.k, self.v))
        mask = keep if self.fixed else ~keep
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None]).transpose(1, 2).flatten(2)


class TextClassifier(nn.Module):
    def __init__(self, fixed):
        super().__init__()
        self.emb = nn.Embedding(V, D, padding_idx=0)
        nn.init.normal_(self.emb.weight[1:].data, std=0.3)
        self.conv = nn.Conv1d(D, D, 3, padding=1)
        self.norm = nn.LayerNorm(D)
        self.att, self.score = LabelAttention(fixed), nn.Linear(D, 1)

    def forward(self, input_ids, attention_mask):
        e = self.emb(input_ids)
        x = self.norm(e + F.relu(self.conv(e.transpose(1, 2)).transpose(1, 2)))
        return self.score(self.att(x, attention_mask.bool()))[..., 0]


def data(seed, n=128, L=20):
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(20, V, (n, L), generator=g)
    y, lens = torch.randint(0, C, (n,), generator=g), torch.randint(5, L - 3, (n,), generator=g)
    for i in range(n):  # two words that speak for the class
        at = torch.randperm(int(lens[i]), generator=g)[:2]
        ids[i, at] = 1 + y[i] * 3 + torch.randint(0, 3, (2,), generator=g)
    keep = torch.arange(L) < lens[:, None]
    return {"input_ids": ids * keep, "attention_mask": keep.long()}, y


def make(seed, fixed):
    torch.manual_seed(seed)
    m = TextClassifier(fixed)
    return m, nn.CrossEntropyLoss(), data(1), torch.optim.Adam(m.parameters(), 3e-3)


def score(m):
    b, y = data(2)
    with torch.no_grad():
        return float((m(**b).argmax(-1) == y).float().mean())
