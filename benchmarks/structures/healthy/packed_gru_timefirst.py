"""Speech classifier with time-first frames [T, B, F]: bidirectional GRU over packed sequences (the whole
utterance is known, both directions are right), last states of both directions."""

import torch
import torch.nn as nn
from torch.nn.utils.rnn import pack_padded_sequence

T, FB, C = 40, 14, 6


class SpeechGRU(nn.Module):
    def __init__(self, h=48):
        super().__init__()
        self.gru = nn.GRU(FB, h, bidirectional=True)
        self.fc = nn.Linear(2 * h, C)

    def forward(self, frames, lengths):
        packed = pack_padded_sequence(frames, lengths.cpu(), enforce_sorted=False)
        _, h = self.gru(packed)
        return self.fc(torch.cat([h[0], h[1]], -1))


def make(seed):
    torch.manual_seed(seed)
    B = 24
    y = torch.randint(0, C, (B,))
    lens = torch.randint(10, T + 1, (B,))
    t = torch.arange(T).float()[:, None]
    phase = t * (0.2 + 0.15 * y.float()) + 6.28 * torch.rand(B)
    x = torch.sin(phase[..., None] + 0.4 * torch.arange(FB)) + 0.4 * torch.randn(T, B, FB)
    x = x * (t < lens)[..., None]
    model = SpeechGRU()
    return model, nn.CrossEntropyLoss(), ((x, lens), y), torch.optim.Adam(model.parameters(), lr=3e-3)
