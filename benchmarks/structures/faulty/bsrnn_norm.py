"""Streaming next-frame predictor for log spectra in time-first layout [T, B, F] (band projections,
then a unidirectional LSTM).

Fault: the normalisation in front of the LSTM is GroupNorm over a [B, C, T] tensor, whose mean and
variance run over all frames, those to come included; a frame-wise norm is needed.
Source: espnet/espnet issue 5900 (2024), "BSRNN with causal=True is not causal".
"""

import torch
import torch.nn as nn

KIND = "future"
FB = 24


class FrameNorm(nn.Module):
    """LayerNorm over the channels of one frame."""

    def __init__(self, c):
        super().__init__()
        self.ln = nn.LayerNorm(c)

    def forward(self, x):  # [B, C, T]
        return self.ln(x.transpose(1, 2)).transpose(1, 2)


class StreamingPredictor(nn.Module):
    def __init__(self, norm_type, c=48, h=64):
        super().__init__()
        self.band = nn.Linear(FB, c)
        self.norm = FrameNorm(c) if norm_type == "cfLN" else nn.GroupNorm(1, c)
        self.rnn = nn.LSTM(c, h)
        self.out = nn.Linear(h, FB)

    def forward(self, spec):  # [T, B, F]
        x = self.band(spec).permute(1, 2, 0)
        x = self.norm(x).permute(2, 0, 1)
        return self.out(self.rnn(x)[0])


def make(seed, fixed):
    torch.manual_seed(seed)
    T, B = 41, 16
    freq = torch.linspace(0, 1, FB)
    centre = 0.5 + 0.3 * torch.sin(torch.arange(T)[:, None] * (0.1 + 0.3 * torch.rand(B)) + 6 * torch.rand(B))
    loud = (0.15 * torch.randn(T, B)).cumsum(0)
    spec = 3 * torch.exp(-(((freq - centre[..., None]) / 0.12) ** 2)) + loud[..., None] + 0.2 * torch.randn(T, B, FB)
    spec = (spec - spec.mean()) / spec.std()
    model = StreamingPredictor("cfLN" if fixed else "GN")
    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    return model, nn.MSELoss(), (spec[:-1].contiguous(), spec[1:].contiguous()), opt
