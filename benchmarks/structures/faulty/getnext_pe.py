"""Next point-of-interest recommendation from trajectories: transformer encoder with causal mask, batch first.

Fault: the sinusoidal positional encoding is written for [T, B, D] and is added to a [B, T, D] tensor
along the batch: all time steps of a trajectory get the same encoding.
Source: songyangco/GETNext issue 2 (2022), "Question about positional encoding" (also cmu-l3/anlp-fall2025-code
issue 1, 2026).
"""

import math

import torch
import torch.nn as nn

KIND = "order"
POI, D, T = 40, 48, 18


class PositionalEncoding(nn.Module):
    def __init__(self, d_model, batch_first, max_len=100):
        super().__init__()
        position = torch.arange(max_len).unsqueeze(1)
        div = torch.exp(torch.arange(0, d_model, 2) * (-math.log(10000.0) / d_model))
        pe = torch.zeros(max_len, 1, d_model)
        pe[:, 0, 0::2], pe[:, 0, 1::2] = torch.sin(position * div), torch.cos(position * div)
        self.register_buffer("pe", pe)
        self.batch_first = batch_first

    def forward(self, x):
        if self.batch_first:
            return x + self.pe[: x.size(1)].transpose(0, 1)
        return x + self.pe[: x.size(0)]


class TransformerModel(nn.Module):
    def __init__(self, pe_batch_first):
        super().__init__()
        self.emb = nn.Embedding(POI, D)
        self.hour = nn.Linear(2, D)
        self.pos = PositionalEncoding(D, pe_batch_first)
        layer = nn.TransformerEncoderLayer(D, 4, 96, dropout=0.0, batch_first=True)
        self.enc = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)
        self.dec = nn.Linear(D, POI)

    def forward(self, poi, hour):
        x = self.pos(self.emb(poi) + self.hour(hour))
        mask = torch.ones(poi.shape[1], poi.shape[1], dtype=torch.bool).triu(1)
        return self.dec(self.enc(x, mask=mask))


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 16
    table = torch.randint(0, POI, (POI, 2))  # where one goes depends on the last place but one
    traj = torch.randint(0, POI, (B, T + 1))
    for t in range(2, T + 1):
        traj[:, t] = table[traj[:, t - 2], torch.randint(0, 2, (B,))]
    h = 6.2832 * torch.rand(B, T)
    model = TransformerModel(pe_batch_first=fixed)

    def loss(logits, y):
        return nn.functional.cross_entropy(logits.reshape(-1, POI), y.reshape(-1))

    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    return (
        model,
        loss,
        ((traj[:, :-1].contiguous(), torch.stack([h.sin(), h.cos()], -1)), traj[:, 1:].contiguous()),
        opt,
    )
