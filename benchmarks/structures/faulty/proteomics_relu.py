"""Regression of the ion mobility (standardised collision cross section) of peptides with an LSTM over
packed sequences.

Fault: ReLU after the last linear layer: no negative value can be predicted (and the output may die),
while the standardised targets are negative half of the time.
Source: ProteomicsML/ProteomicsML pull 203 (2026), "Do not use ReLU activation for the final regression layer".
"""

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils.rnn import pack_padded_sequence

KIND = "range"
AA, T = 20, 20


class CCSModel(nn.Module):
    def __init__(self, final_relu, d=24, h=48):
        super().__init__()
        self.final_relu = final_relu
        self.emb = nn.Embedding(AA + 1, d, padding_idx=0)
        self.lstm = nn.LSTM(d, h, batch_first=True)
        self.fc1, self.fc2 = nn.Linear(h + 1, 32), nn.Linear(32, 1)

    def forward(self, peptide, lengths, charge):
        packed = pack_padded_sequence(self.emb(peptide), lengths.cpu(), batch_first=True, enforce_sorted=False)
        _, (h, _) = self.lstm(packed)
        x = torch.relu(self.fc1(torch.cat([h[-1], charge], -1)))
        x = self.fc2(x)
        return (F.relu(x) if self.final_relu else x).squeeze(-1)


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 32
    lens = torch.randint(6, T + 1, (B,))
    keep = torch.arange(T)[None] < lens[:, None]
    pep = torch.randint(1, AA + 1, (B, T)) * keep
    charge = torch.randint(0, 2, (B, 1)).float() * 2 - 1
    w = torch.randn(AA + 1)
    y = (w[pep] * keep).sum(1) / 4 + 0.2 * (lens - 13) + 1.2 * charge[:, 0]
    y = (y - y.mean()) / y.std()
    model = CCSModel(final_relu=not fixed)
    opt = torch.optim.Adam(model.parameters(), lr=5e-3)
    return model, nn.MSELoss(), ((pep, lens, charge), y), opt
