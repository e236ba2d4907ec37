"""Mixture-of-experts token classifier with a load-balancing term; outputs are (logits, aux_loss).

Fault: the gate computes the balancing term apart from the graph (its value reaches the loss, no
gradient reaches the router).
Source: NVIDIA-NeMo/Automodel issue 1408 (2026), "MoE aux_loss gradient never flows - MoEAuxLossAutoScaler return
value discarded".
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "terms"
V, D, E, TOPK, CLS, T = 50, 48, 6, 2, 8, 16


class Gate(nn.Module):
    def __init__(self, aux_in_graph):
        super().__init__()
        self.aux_in_graph = aux_in_graph
        self.weight = nn.Parameter(0.3 * torch.randn(E, D))

    def load_balance(self, probs, idx):
        frac = F.one_hot(idx, E).float().sum(-2).mean(0) / TOPK
        return E * (frac * probs.mean(0)).sum()

    def forward(self, x):
        probs = F.linear(x, self.weight).softmax(-1)
        w, idx = probs.topk(TOPK, -1)
        if self.aux_in_graph:
            aux = self.load_balance(probs, idx)
        else:
            with torch.no_grad():
                aux = self.load_balance(probs, idx)
        return w / w.sum(-1, keepdim=True), idx, aux


class MoE(nn.Module):
    def __init__(self, aux_in_graph):
        super().__init__()
        self.gate = Gate(aux_in_graph)
        self.experts = nn.ModuleList(nn.Sequential(nn.Linear(D, 64), nn.SiLU(), nn.Linear(64, D)) for _ in range(E))

    def forward(self, x):
        flat = x.reshape(-1, D)
        w, idx, aux = self.gate(flat)
        dense = torch.zeros(flat.shape[0], E).scatter(1, idx, w)
        y = sum(dense[:, e : e + 1] * ex(flat) for e, ex in enumerate(self.experts))
        return y.view_as(x), aux


class MoETagger(nn.Module):
    def __init__(self, aux_in_graph):
        super().__init__()
        self.emb = nn.Embedding(V, D)
        self.mix = nn.Conv1d(D, D, 3, padding=1)
        self.norm, self.moe, self.out = nn.LayerNorm(D), MoE(aux_in_graph), nn.Linear(D, CLS)

    def forward(self, ids):
        x = self.emb(ids)
        x = self.norm(x + self.mix(x.transpose(1, 2)).transpose(1, 2))
        y, aux = self.moe(x)
        return self.out(x + y), aux


def make(seed, fixed):
    torch.manual_seed(seed)
    ids = torch.randint(0, V, (16, T))
    y = (torch.randint(0, CLS, (V,))[ids] + (ids.roll(1, 1) % 2) * 3) % CLS
    model = MoETagger(aux_in_graph=fixed)

    def loss(out, target):
        logits, aux = out
        return F.cross_entropy(logits.reshape(-1, CLS), target.reshape(-1)) + 0.05 * aux

    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return model, loss, (ids, y), opt
