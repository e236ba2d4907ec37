"""Small LLaMA-like causal LM, Hugging-Face style (labels in, output object with .loss out).

Fault: the dataset already gives labels shifted by one against input_ids, and the ...ForCausalLM
class shifts them again, so the model learns the token after the next.
Source: delphi-suite/delphi pull 134 (2024), "Fix training data shifting bug".
"""

from dataclasses import dataclass

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "targets"
V, D, HEADS = 40, 48, 4


@dataclass
class CausalLMOutput:
    loss: torch.Tensor | None
    logits: torch.Tensor


def rope(x):
    T, d = x.shape[-2], x.shape[-1]
    ang = torch.arange(T)[:, None] * (100.0 ** (-torch.arange(0, d, 2) / d))
    cos, sin = ang.cos(), ang.sin()
    a, b = x[..., : d // 2], x[..., d // 2 :]
    return torch.cat([a * cos - b * sin, a * sin + b * cos], -1)


class Layer(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2 = nn.RMSNorm(D), nn.RMSNorm(D)
        self.q, self.k, self.v, self.o = (nn.Linear(D, D, bias=False) for _ in range(4))
        self.gate, self.up, self.down = nn.Linear(D, 96), nn.Linear(D, 96), nn.Linear(96, D)

    def forward(self, x):
        B, T, _ = x.shape
        h = self.n1(x)
        q, k, v = (f(h).view(B, T, HEADS, -1).transpose(1, 2) for f in (self.q, self.k, self.v))
        y = F.scaled_dot_product_attention(rope(q), rope(k), v, is_causal=True)
        x = x + self.o(y.transpose(1, 2).reshape(B, T, D))
        h = self.n2(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class TinyLlamaForCausalLM(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed_tokens = nn.Embedding(V, D)
        self.layers = nn.ModuleList(Layer() for _ in range(2))
        self.norm, self.lm_head = nn.RMSNorm(D), nn.Linear(D, V, bias=False)

    def forward(self, input_ids, labels=None):
        x = self.embed_tokens(input_ids)
        for l in self.layers:
            x = l(x)
        logits = self.lm_head(self.norm(x))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].reshape(-1, V), labels[:, 1:].reshape(-1))
        return CausalLMOutput(loss, logits)


def make(seed, fixed):
    torch.manual_seed(seed)
    B, T = 16, 24
    P = torch.softmax(3 * torch.randn(V, V), -1)
    doc = torch.empty(B, T + 1, dtype=torch.long)
    doc[:, 0] = torch.randint(0, V, (B,))
    for t in range(1, T + 1):
        doc[:, t] = torch.multinomial(P[doc[:, t - 1]], 1).squeeze(1)
    input_ids = doc[:, :-1].contiguous()
    labels = input_ids.clone() if fixed else doc[:, 1:].contiguous()
    model = TinyLlamaForCausalLM()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return model, (lambda out, t: out.loss), ({"input_ids": input_ids, "labels": labels}, torch.zeros(1)), opt
