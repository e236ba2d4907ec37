"""Transformer encoder written from scratch, used as a sequence tagger.

Fault: after attention the values [batch, heads, seq, head_dim] are reshaped to [batch, seq, d_model]
without the permute, so that a token's vector is made of pieces of several time steps.
Source: jsbaan/transformer-from-scratch pull 6 (2026), "Fix several bugs, one critical" (also
ajhalthor/Transformer-Neural-Network pull 4, 2023).
"""

import math

import torch
import torch.nn as nn

KIND = "order"
V, TAGS, D, T = 20, 6, 48, 16


class MultiHeadAttention(nn.Module):
    def __init__(self, permute, num_heads=4):
        super().__init__()
        self.permute, self.h, self.hd = permute, num_heads, D // num_heads
        self.qkv_proj, self.o_proj = nn.Linear(D, 3 * D), nn.Linear(D, D)

    def forward(self, x):
        B, S, _ = x.shape
        qkv = self.qkv_proj(x).reshape(B, S, self.h, 3 * self.hd).permute(0, 2, 1, 3)
        q, k, v = qkv.chunk(3, dim=-1)
        att = torch.softmax(q @ k.transpose(-2, -1) / math.sqrt(self.hd), dim=-1)
        values = att @ v
        if self.permute:
            values = values.permute(0, 2, 1, 3)
        return self.o_proj(values.reshape(B, S, D))


class EncoderBlock(nn.Module):
    def __init__(self, permute):
        super().__init__()
        self.att, self.n1, self.n2 = MultiHeadAttention(permute), nn.LayerNorm(D), nn.LayerNorm(D)
        self.ff = nn.Sequential(nn.Linear(D, 96), nn.ReLU(), nn.Linear(96, D))

    def forward(self, x):
        x = self.n1(x + self.att(x))
        return self.n2(x + self.ff(x))


class Tagger(nn.Module):
    def __init__(self, permute):
        super().__init__()
        self.emb, self.pos = nn.Embedding(V, D), nn.Embedding(T, D)
        self.blocks = nn.Sequential(EncoderBlock(permute), EncoderBlock(permute))
        self.out = nn.Linear(D, TAGS)

    def forward(self, tokens):
        return self.out(self.blocks(self.emb(tokens) + self.pos(torch.arange(tokens.shape[1]))))


def make(seed, fixed):
    torch.manual_seed(seed)
    x = torch.randint(0, V, (24, T))
    table = torch.randint(0, TAGS, (V, 3))
    y = table[x, x.roll(1, 1) % 3]  # the tag depends on the word and the one before
    model = Tagger(permute=fixed)

    def loss(logits, y):
        return nn.functional.cross_entropy(logits.transpose(1, 2), y)

    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    return model, loss, (x, y), opt
