"""https://github.com/huggingface/transformers/issues/27517 (2023): MBartForCausalLM scores logits against labels = input_ids with no shift; the model learns to copy its input."""

from dataclasses import dataclass

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "huggingface/transformers#27517"
KIND = "targets"
STEPS = 150


@dataclass
class CausalLMOutput:
    loss: torch.Tensor = None
    logits: torch.Tensor = None


class DecoderLayer(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.self_attn = nn.MultiheadAttention(d, h, dropout=0.1, batch_first=True)
        self.self_attn_layer_norm, self.final_layer_norm = nn.LayerNorm(d), nn.LayerNorm(d)
        self.fc1, self.fc2 = nn.Linear(d, 4 * d), nn.Linear(4 * d, d)

    def forward(self, x, mask):
        y = self.self_attn_layer_norm(x)
        x = x + self.self_attn(y, y, y, attn_mask=mask, need_weights=False)[0]
        return x + self.fc2(torch.relu(self.fc1(self.final_layer_norm(x))))


class TinyBartForCausalLM(nn.Module):
    def __init__(self, vocab=48, d=40, shift=True):
        super().__init__()
        self.shift, self.vocab = shift, vocab
        self.embed_tokens, self.embed_positions = nn.Embedding(vocab, d), nn.Embedding(64, d)
        for e in (self.embed_tokens, self.embed_positions):
            nn.init.normal_(e.weight, std=0.1)
        self.layers = nn.ModuleList([DecoderLayer(d, 4), DecoderLayer(d, 4)])
        self.layer_norm = nn.LayerNorm(d)
        self.lm_head = nn.Linear(d, vocab, bias=False)

    def forward(self, input_ids=None, labels=None):
        T = input_ids.shape[1]
        x = self.embed_tokens(input_ids) + self.embed_positions(torch.arange(T))
        mask = torch.full((T, T), float("-inf")).triu(1)
        for layer in self.layers:
            x = layer(x, mask)
        logits, loss = self.lm_head(self.layer_norm(x)), None
        if labels is not None:
            lg, lb = (logits[:, :-1], labels[:, 1:]) if self.shift else (logits, labels)
            loss = nn.CrossEntropyLoss()(lg.reshape(-1, self.vocab), lb.reshape(-1))
        return CausalLMOutput(loss, logits)


def texts(seed, B=12, T=32, V=48):
    g = torch.Generator().manual_seed(seed)
    a, b = torch.randint(1, 6, (B, 1), generator=g), torch.randint(0, V, (B, 1), generator=g)
    x = a * torch.arange(T) + b + torch.randint(0, 2, (B, T), generator=g)
    return x % V


def make(seed, fixed):
    torch.manual_seed(seed)
    model = TinyBartForCausalLM(shift=fixed)
    ids = texts(seed + 7)
    return (
        model,
        (lambda out, _: out.loss),
        (dict(input_ids=ids, labels=ids.clone()), None),
        torch.optim.AdamW(model.parameters(), 1e-3),
    )
