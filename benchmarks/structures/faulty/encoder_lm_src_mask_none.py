"""https://github.com/pytorch/tutorials/issues/2478 (2023): language model built on nn.TransformerEncoder whose src_mask is left None in the training call, so later words are visible."""

import math

import torch
from torch import nn

torch.set_num_threads(1)
SOURCE = "pytorch/tutorials#2478"
KIND = "future"
STEPS = 150


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, max_len=64):
        super().__init__()
        pos = torch.arange(max_len).unsqueeze(1)
        div = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2], pe[:, 0, 1::2] = torch.sin(pos * div), torch.cos(pos * div)
        self.register_buffer("pe", pe)

    def forward(self, x):
        return x + self.pe[: x.size(0)]


class TransformerModel(nn.Module):
    def __init__(self, ntoken, d_model=48, nhead=4, d_hid=96, nlayers=2, default_mask=True):
        super().__init__()
        self.default_mask, self.d_model = default_mask, d_model
        self.encoder = nn.Embedding(ntoken, d_model)
        self.pos_encoder = PositionalEncoding(d_model)
        layer = nn.TransformerEncoderLayer(d_model, nhead, d_hid, dropout=0.1)
        self.transformer_encoder = nn.TransformerEncoder(layer, nlayers, enable_nested_tensor=False)
        self.linear = nn.Linear(d_model, ntoken)
        self.encoder.weight.data.uniform_(-0.1, 0.1)
        self.linear.bias.data.zero_()
        self.linear.weight.data.uniform_(-0.1, 0.1)

    def forward(self, src, src_mask=None):
        """src: (seq_len, batch)"""
        h = self.pos_encoder(self.encoder(src) * math.sqrt(self.d_model))
        if src_mask is None and self.default_mask:
            src_mask = nn.Transformer.generate_square_subsequent_mask(len(src))
        return self.linear(self.transformer_encoder(h, src_mask))


def corpus(seed, n=35 * 16 + 16, V=30):
    g = torch.Generator().manual_seed(seed)
    table = torch.rand(V, V, generator=torch.Generator().manual_seed(9)).pow(8)
    x = [0]
    for _ in range(n):
        x.append(int(torch.multinomial(table[x[-1]], 1, generator=g)))
    return torch.tensor(x)


def make(seed, fixed):
    torch.manual_seed(seed)
    flat = corpus(seed + 3)
    bptt, bsz = 35, 16
    cols = flat[: (bptt + 1) * bsz].view(bsz, bptt + 1).t().contiguous()
    data, targets = cols[:-1], cols[1:].reshape(-1)
    model = TransformerModel(30, default_mask=fixed)
    ce = nn.CrossEntropyLoss()
    return model, lambda out, y: ce(out.view(-1, 30), y), (data, targets), torch.optim.Adam(model.parameters(), 2e-3)
