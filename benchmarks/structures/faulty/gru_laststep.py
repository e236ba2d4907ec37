"""Utterance classifier in time-first layout: x [T, B, F] with lengths, GRU, the last state classified.

Fault: the state is read at the last row of the padded tensor (out[-1]), which for all but the
longest utterances is the state after a run of padding frames.
Source: opensearch-project/ml-commons pull 4744 (2026), last-token pooling "returned the embedding of a padding
token whenever any padding actually occurred".
"""

import torch
import torch.nn as nn

KIND = "padding"
T, FB, C = 36, 12, 5


class KeywordGRU(nn.Module):
    def __init__(self, by_length, h=64):
        super().__init__()
        self.by_length = by_length
        self.inp = nn.Sequential(nn.Linear(FB, 48), nn.ReLU())
        self.gru = nn.GRU(48, h)
        self.fc = nn.Linear(h, C)

    def forward(self, x, lengths):
        out, _ = self.gru(self.inp(x))
        if self.by_length:
            last = out[lengths - 1, torch.arange(out.shape[1])]
        else:
            last = out[-1]
        return self.fc(last)


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 24
    y = torch.randint(0, C, (B,))
    lens = torch.randint(8, T + 1, (B,))
    lens[0] = T
    proto = 1.5 * torch.randn(C, FB)
    x = 0.8 * torch.randn(T, B, FB)
    for b in range(B):  # the keyword's frames, anywhere in the utterance
        s = int(torch.randint(0, int(lens[b]) - 6, (1,)))
        x[s : s + 6, b] += proto[y[b]]
    x = x * (torch.arange(T)[:, None] < lens).unsqueeze(-1)
    model = KeywordGRU(by_length=fixed)
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    return model, nn.CrossEntropyLoss(), ((x, lens), y), opt
