"""https://github.com/karpathy/nanoGPT/pull/240 (2023): scaled_dot_product_attention(..., dropout_p=self.dropout) drops attention weights in eval mode too."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "karpathy/nanoGPT#240"
KIND = "mode"
STEPS = 100


class CausalSelfAttention(nn.Module):
    def __init__(self, n_embd, n_head, dropout, respect_mode):
        super().__init__()
        self.c_attn, self.c_proj = nn.Linear(n_embd, 3 * n_embd), nn.Linear(n_embd, n_embd)
        self.resid_dropout, self.dropout, self.n_head, self.respect_mode = (
            nn.Dropout(dropout),
            dropout,
            n_head,
            respect_mode,
        )

    def forward(self, x):
        B, T, C = x.size()
        q, k, v = (z.view(B, T, self.n_head, C // self.n_head).transpose(1, 2) for z in self.c_attn(x).split(C, 2))
        p = self.dropout if (self.training or not self.respect_mode) else 0.0
        y = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return self.resid_dropout(self.c_proj(y.transpose(1, 2).contiguous().view(B, T, C)))


class Block(nn.Module):
    def __init__(self, d, h, p, respect_mode):
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(d), CausalSelfAttention(d, h, p, respect_mode), nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, 4 * d), nn.GELU(), nn.Linear(4 * d, d), nn.Dropout(p))

    def forward(self, x):
        x = x + self.attn(self.ln_1(x))
        return x + self.mlp(self.ln_2(x))


class GPT(nn.Module):
    def __init__(self, vocab=32, block_size=32, d=40, h=4, layers=2, p=0.2, respect_mode=True):
        super().__init__()
        self.wte, self.wpe, self.drop = nn.Embedding(vocab, d), nn.Embedding(block_size, d), nn.Dropout(p)
        self.h, self.ln_f, self.lm_head = (
            nn.ModuleList(Block(d, h, p, respect_mode) for _ in range(layers)),
            nn.LayerNorm(d),
            nn.Linear(d, vocab, bias=False),
        )
        self.apply(self._init)
        self.lm_head.weight = self.wte.weight

    def _init(self, m):
        if isinstance(m, (nn.Linear, nn.Embedding)):
            nn.init.normal_(m.weight, 0.0, 0.05)
        if isinstance(m, nn.Linear) and m.bias is not None:
            nn.init.zeros_(m.bias)

    def forward(self, idx, targets=None):
        x = self.drop(self.wte(idx) + self.wpe(torch.arange(idx.shape[1])))
        for b in self.h:
            x = b(x)
        logits = self.lm_head(self.ln_f(x))
        return logits, None if targets is None else F.cross_entropy(
            logits.view(-1, logits.size(-1)), targets.reshape(-1)
        )


def make(seed, fixed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    x = torch.randint(0, 32, (12, 33), generator=g)
    for t in range(2, 33):  # copy from two back, plus one, with noise
        keep = torch.rand(12, generator=g) < 0.85
        x[:, t] = torch.where(keep, (x[:, t - 2] + 1) % 32, x[:, t])
    m = GPT(respect_mode=fixed)
    return (
        m,
        (lambda out, _: out[1]),
        ({"idx": x[:, :-1], "targets": x[:, 1:]}, None),
        torch.optim.AdamW(m.parameters(), 2e-3, betas=(0.9, 0.95)),
    )
