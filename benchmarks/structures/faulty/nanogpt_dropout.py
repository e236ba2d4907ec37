"""nanoGPT-like character model with flash attention (scaled_dot_product_attention).

Fault: dropout_p=self.dropout is passed to the functional attention unconditionally: dropout stays on
in eval mode.
Source: karpathy/nanoGPT pull 240 (2023), "don't dropout in eval mode".
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "mode"
V, D, HEADS, T = 30, 48, 4, 24


class CausalSelfAttention(nn.Module):
    def __init__(self, respect_mode, dropout=0.1):
        super().__init__()
        self.respect_mode, self.dropout = respect_mode, dropout
        self.c_attn, self.c_proj, self.resid_dropout = nn.Linear(D, 3 * D), nn.Linear(D, D), nn.Dropout(dropout)

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = (z.view(B, T, HEADS, C // HEADS).transpose(1, 2) for z in self.c_attn(x).split(D, dim=2))
        p = (self.dropout if self.training else 0.0) if self.respect_mode else self.dropout
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return self.resid_dropout(self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C)))


class Block(nn.Module):
    def __init__(self, respect_mode):
        super().__init__()
        self.ln_1, self.ln_2, self.attn = nn.LayerNorm(D), nn.LayerNorm(D), CausalSelfAttention(respect_mode)
        self.mlp = nn.Sequential(nn.Linear(D, 2 * D), nn.GELU(), nn.Linear(2 * D, D), nn.Dropout(0.1))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, respect_mode):
        super().__init__()
        self.wte, self.wpe, self.drop = nn.Embedding(V, D), nn.Embedding(T, D), nn.Dropout(0.1)
        self.h = nn.Sequential(Block(respect_mode), Block(respect_mode))
        self.ln_f, self.lm_head = nn.LayerNorm(D), nn.Linear(D, V, bias=False)

    def forward(self, idx):
        x = self.drop(self.wte(idx) + self.wpe(torch.arange(idx.size(1))))
        return self.lm_head(self.ln_f(self.h(x)))


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 16
    P = torch.softmax(3 * torch.randn(V, V), -1)
    s = torch.randint(0, V, (B, T + 1))
    for t in range(1, T + 1):
        s[:, t] = torch.multinomial(P[s[:, t - 1]], 1).squeeze(1)
    model = GPT(respect_mode=fixed)

    def loss(logits, y):
        return F.cross_entropy(logits.view(-1, V), y.reshape(-1))

    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
    return model, loss, (s[:, :-1].contiguous(), s[:, 1:].contiguous()), opt
