"""https://github.com/huggingface/transformers/issues/46897 (2026): encoder-decoder shifts the labels right for the decoder input, the loss shifts once more."""

import math

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "huggingface/transformers#46897"
KIND = "targets"
STEPS = 250
V, BOS, D = 18, 0, 48


class Seq2Seq(nn.Module):
    def __init__(self):
        super().__init__()
        self.src, self.tgt = nn.Embedding(V, D), nn.Embedding(V, D)
        for e in (self.src, self.tgt):
            nn.init.normal_(e.weight, std=0.3)
        self.enc = nn.GRU(D, D // 2, batch_first=True, bidirectional=True)
        self.dec = nn.GRU(D, D, batch_first=True)
        self.query, self.mix, self.head = nn.Linear(D, D, bias=False), nn.Linear(2 * D, D), nn.Linear(D, V)

    def forward(self, input_ids, labels):
        dec_in = torch.cat([torch.full_like(labels[:, :1], BOS), labels[:, :-1]], 1)
        mem, h = self.enc(self.src(input_ids))
        y, _ = self.dec(self.tgt(dec_in), torch.cat([h[0], h[1]], -1)[None].contiguous())
        att = (self.query(y) @ mem.transpose(1, 2) / math.sqrt(D)).softmax(-1) @ mem
        return self.head(torch.tanh(self.mix(torch.cat([y, att], -1))))


def data(seed, n=128, L=8):
    g = torch.Generator().manual_seed(seed)
    x = torch.randint(1, V, (n, L), generator=g)
    y = x.flip(1).clone()
    for t in range(1, L):
        y[:, t] = (y[:, t] + y[:, t - 1]) % (V - 1) + 1  # each depends on the last
    return {"input_ids": x, "labels": y}, y


def make(seed, fixed):
    torch.manual_seed(seed)
    m = Seq2Seq()

    def loss(o, t):
        if not fixed:
            o, t = o[:, :-1], t[:, 1:]
        return F.cross_entropy(o.reshape(-1, V), t.reshape(-1))

    return m, loss, data(1), torch.optim.Adam(m.parameters(), 3e-3)
