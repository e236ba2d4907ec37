"""https://github.com/huggingface/transformers/issues/48745 (2026): RoFormer/BigBird/... ForCausalLM attend to later tokens; the decoder flag no longer produces a causal mask, so CLM loss collapses."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "huggingface/transformers#48745"
KIND = "future"
STEPS = 150


def rotate(x):
    T, D = x.shape[-2:]
    inv = 10000 ** (-torch.arange(0, D, 2) / D)
    a = torch.arange(T)[:, None] * inv
    c, s = a.cos(), a.sin()
    u, v = x[..., 0::2], x[..., 1::2]
    return torch.stack([u * c - v * s, u * s + v * c], -1).flatten(-2)


class RotarySelfAttention(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h = h
        self.query, self.key, self.value, self.dense = (nn.Linear(d, d) for _ in range(4))

    def forward(self, hidden, attention_mask):
        B, T, D = hidden.shape
        q, k, v = (f(hidden).view(B, T, self.h, -1).transpose(1, 2) for f in (self.query, self.key, self.value))
        s = rotate(q) @ rotate(k).transpose(-1, -2) / (D // self.h) ** 0.5 + attention_mask
        return self.dense((s.softmax(-1) @ v).transpose(1, 2).reshape(B, T, D))


class Layer(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.attention, self.ln1, self.ln2 = RotarySelfAttention(d, h), nn.LayerNorm(d), nn.LayerNorm(d)
        self.mlp = nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d))

    def forward(self, x, m):
        x = x + self.attention(self.ln1(x), m)
        return x + self.mlp(self.ln2(x))


class RotaryForCausalLM(nn.Module):
    def __init__(self, vocab=40, d=48, h=4, layers=2, is_decoder=True):
        super().__init__()
        self.is_decoder = is_decoder
        self.embeddings = nn.Embedding(vocab, d)
        nn.init.normal_(self.embeddings.weight, std=0.3)
        self.layers = nn.ModuleList(Layer(d, h) for _ in range(layers))
        self.norm, self.lm_head = nn.LayerNorm(d), nn.Linear(d, vocab)

    def get_extended_attention_mask(self, attention_mask):
        m = attention_mask[:, None, None, :].float()
        if self.is_decoder:
            T = attention_mask.shape[1]
            m = m * torch.tril(torch.ones(T, T))
        return (1 - m) * torch.finfo(torch.float32).min

    def forward(self, input_ids, attention_mask, labels=None):
        m = self.get_extended_attention_mask(attention_mask)
        x = self.embeddings(input_ids)
        for l in self.layers:
            x = l(x, m)
        logits = self.lm_head(self.norm(x))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100)
        return {"loss": loss, "logits": logits}


def data(seed, B=16, T=32, V=40):
    g = torch.Generator().manual_seed(seed)
    nxt = torch.randint(0, V, (V, 3), generator=torch.Generator().manual_seed(5))
    ids = torch.randint(0, V, (B, T), generator=g)
    for t in range(1, T):
        ids[:, t] = nxt[ids[:, t - 1], torch.randint(0, 3, (B,), generator=g)]
    return ids


def make(seed, fixed):
    torch.manual_seed(seed)
    model = RotaryForCausalLM(is_decoder=fixed)
    ids = data(seed + 1)
    batch = ({"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids}, None)
    return model, lambda out, _: out["loss"], batch, torch.optim.AdamW(model.parameters(), 2e-3)
