"""https://github.com/NVIDIA/tacotron2/issues/80 (2018): mel loss runs over the frames after the end of the shorter utterances, where targets are padding."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "NVIDIA/tacotron2#80"
KIND = "padding"
STEPS = 120


class MiniTacotron(nn.Module):
    def __init__(self, n_symbols=30, n_mel=20, d=40):
        super().__init__()
        self.embedding = nn.Embedding(n_symbols, d)
        self.encoder = nn.Sequential(nn.Conv1d(d, d, 5, padding=2), nn.ReLU(), nn.Conv1d(d, d, 5, padding=2), nn.ReLU())
        self.prenet, self.decoder = nn.Sequential(nn.Linear(n_mel, 32), nn.ReLU()), nn.GRU(32 + d, 56, batch_first=True)
        self.linear_projection = nn.Linear(56, n_mel)
        self.postnet = nn.Sequential(nn.Conv1d(n_mel, 32, 5, padding=2), nn.Tanh(), nn.Conv1d(32, n_mel, 5, padding=2))

    def forward(self, text, durations, mels):
        """durations expand symbols to frames (padding expands to nothing and is filled with zeros)"""
        enc = self.encoder(self.embedding(text).transpose(1, 2)).transpose(1, 2)
        frames = nn.utils.rnn.pad_sequence(
            [torch.repeat_interleave(e, n, 0) for e, n in zip(enc, durations)], batch_first=True
        )
        prev = F.pad(mels, (0, 0, 1, 0))[:, :-1]
        h, _ = self.decoder(torch.cat([self.prenet(prev), frames], -1))
        mel = self.linear_projection(h)
        return mel, mel + self.postnet(mel.transpose(1, 2)).transpose(1, 2)


class Tacotron2Loss(nn.Module):
    def __init__(self, masked):
        super().__init__()
        self.masked = masked

    def forward(self, outputs, targets):
        target, lengths = targets
        keep = (
            torch.arange(target.shape[1]) < lengths[:, None]
            if self.masked
            else torch.ones(target.shape[:2], dtype=torch.bool)
        )
        return sum(F.mse_loss(o[keep], target[keep]) for o in outputs)


def utterances(seed, B=16, S=10):
    g = torch.Generator().manual_seed(seed)
    text = torch.randint(1, 30, (B, S), generator=g)
    n = torch.randint(2, S + 1, (B,), generator=g)
    n[0] = S
    dur = torch.randint(2, 6, (B, S), generator=g) * (torch.arange(S) < n[:, None])
    text = text * (dur > 0)
    proto = torch.randn(30, 20, generator=torch.Generator().manual_seed(1))
    mels = [torch.repeat_interleave(proto[t], d, 0) for t, d in zip(text, dur)]
    mels = [m + 0.3 * torch.randn(m.shape, generator=g) for m in mels]
    flat = torch.cat(mels)
    mu, sd = flat.mean(0), flat.std(0)
    lengths = torch.tensor([len(m) for m in mels])
    return (
        text,
        dur,
        nn.utils.rnn.pad_sequence([(m - mu) / sd for m in mels], batch_first=True, padding_value=-4.0),
        lengths,
    )


def make(seed, fixed):
    torch.manual_seed(seed)
    text, dur, mel, n = utterances(seed + 1)
    net = MiniTacotron()
    return (
        net,
        Tacotron2Loss(masked=fixed),
        ((text, dur, mel), (mel, n)),
        torch.optim.Adam(net.parameters(), 2e-3, weight_decay=1e-6),
    )
