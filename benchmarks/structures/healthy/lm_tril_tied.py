"""nanoGPT style: tril buffer and masked_fill, tied embeddings, attention dropout"""

import math

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


def markov(g, n, L, V, first=3):
    """token streams from a peaked random chain over ids first..V-1"""
    P = (2.0 * torch.randn(V - first, V - first, generator=g)).softmax(-1)
    x = torch.empty(n, L, dtype=torch.long)
    x[:, 0] = torch.randint(0, V - first, (n,), generator=g)
    for t in range(1, L):
        x[:, t] = torch.multinomial(P[x[:, t - 1]], 1, generator=g)[:, 0]
    return x + first


class CausalSelfAttention(nn.Module):
    def __init__(self, n_embd, n_head, block):
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(n_embd, 3 * n_embd), nn.Linear(n_embd, n_embd)
        self.n_head, self.n_embd = n_head, n_embd
        self.attn_dropout, self.resid_dropout = nn.Dropout(0.1), nn.Dropout(0.1)
        self.register_buffer("bias", torch.tril(torch.ones(block, block)).view(1, 1, block, block))

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = self.c_attn(x).split(self.n_embd, dim=2)
        k = k.view(B, T, self.n_head, -1).transpose(1, 2)
        q = q.view(B, T, self.n_head, -1).transpose(1, 2)
        v = v.view(B, T, self.n_head, -1).transpose(1, 2)
        att = (q @ k.transpose(-2, -1)) * (1.0 / math.sqrt(k.size(-1)))
        att = att.masked_fill(self.bias[:, :, :T, :T] == 0, float("-inf"))
        att = self.attn_dropout(F.softmax(att, dim=-1))
        return self.resid_dropout(self.c_proj((att @ v).transpose(1, 2).contiguous().view(B, T, C)))


class Block(nn.Module):
    def __init__(self, d, h, L):
        super().__init__()
        self.ln_1, self.ln_2, self.attn = nn.LayerNorm(d), nn.LayerNorm(d), CausalSelfAttention(d, h, L)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d), nn.Dropout(0.1))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, V=40, d=48, L=32, n=2):
        super().__init__()
        self.wte, self.wpe, self.drop = nn.Embedding(V, d), nn.Embedding(L, d), nn.Dropout(0.1)
        self.h = nn.ModuleList([Block(d, 4, L) for _ in range(n)])
        self.ln_f, self.lm_head = nn.LayerNorm(d), nn.Linear(d, V, bias=False)
        self.wte.weight = self.lm_head.weight
        self.apply(self._init_weights)
        for k, p in self.named_parameters():
            if k.endswith("c_proj.weight"):
                nn.init.normal_(p, std=0.02 / math.sqrt(2 * n))

    def _init_weights(self, m):
        if isinstance(m, nn.Linear):
            nn.init.normal_(m.weight, std=0.02)
            if m.bias is not None:
                nn.init.zeros_(m.bias)
        elif isinstance(m, nn.Embedding):
            nn.init.normal_(m.weight, std=0.02)

    def forward(self, idx):
        x = self.drop(self.wte(idx) + self.wpe(torch.arange(idx.size(1))))
        for b in self.h:
            x = b(x)
        return self.lm_head(self.ln_f(x))


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    data = markov(g, 1, 600, 40, first=0)[0]
    ix = torch.randint(len(data) - 33, (16,), generator=g).tolist()
    x = torch.stack([data[i : i + 32] for i in ix])
    y = torch.stack([data[i + 1 : i + 33] for i in ix])
    m = GPT()
    decay = [p for p in m.parameters() if p.dim() >= 2]
    rest = [p for p in m.parameters() if p.dim() < 2]
    opt = torch.optim.AdamW(
        [{"params": decay, "weight_decay": 0.1}, {"params": rest, "weight_decay": 0.0}], lr=1e-3, betas=(0.9, 0.95)
    )
    return m, (lambda logits, y: F.cross_entropy(logits.view(-1, logits.size(-1)), y.view(-1))), (x, y), opt
