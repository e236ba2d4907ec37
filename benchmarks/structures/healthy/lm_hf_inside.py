"""HF style: dict inputs, labels are the input ids (-100 on padding), shifted inside of the loss"""

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


class Attn(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h = h
        self.q_proj, self.k_proj, self.v_proj, self.o_proj = (nn.Linear(d, d) for _ in range(4))

    def forward(self, x, mask):
        B, L, D = x.shape
        q, k, v = (p(x).view(B, L, self.h, -1).transpose(1, 2) for p in (self.q_proj, self.k_proj, self.v_proj))
        a = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.o_proj(a.transpose(1, 2).reshape(B, L, D))


class Layer(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.ln_1, self.attn, self.ln_2 = nn.LayerNorm(d), Attn(d, h), nn.LayerNorm(d)
        self.fc, self.proj = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x, mask):
        x = x + self.attn(self.ln_1(x), mask)
        return x + self.proj(F.gelu(self.fc(self.ln_2(x))))


class CausalLM(nn.Module):
    def __init__(self, V=50, d=48, n=2, maxlen=64):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(V, d), nn.Embedding(maxlen, d)
        self.h = nn.ModuleList([Layer(d, 4) for _ in range(n)])
        self.ln_f, self.lm_head = nn.LayerNorm(d), nn.Linear(d, V, bias=False)
        self.apply(self._init)
        self.lm_head.weight = self.wte.weight

    @staticmethod
    def _init(m):
        if isinstance(m, (nn.Linear, nn.Embedding)):
            nn.init.normal_(m.weight, std=0.02)
        if isinstance(m, nn.Linear) and m.bias is not None:
            nn.init.zeros_(m.bias)

    def forward(self, input_ids, attention_mask):
        L = input_ids.shape[1]
        causal = torch.ones(L, L, dtype=torch.bool).tril()
        mask = causal[None, None] & attention_mask.bool()[:, None, None, :]
        x = self.wte(input_ids) + self.wpe(torch.arange(L))[None]
        for l in self.h:
            x = l(x, mask)
        return {"logits": self.lm_head(self.ln_f(x))}


def loss(out, labels):
    lo, la = out["logits"][..., :-1, :].contiguous(), labels[..., 1:].contiguous()
    return F.cross_entropy(lo.view(-1, lo.size(-1)), la.view(-1), ignore_index=-100)


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    ids = markov(g, 16, 28, 50)
    lens = torch.randint(12, 29, (16,), generator=g)
    lens[0] = 28
    am = (torch.arange(28)[None] < lens[:, None]).long()
    ids = ids * am
    labels = ids.masked_fill(am == 0, -100)
    m = CausalLM()
    return (
        m,
        loss,
        ({"input_ids": ids, "attention_mask": am}, labels),
        torch.optim.AdamW(m.parameters(), lr=1e-3, weight_decay=0.01),
    )
