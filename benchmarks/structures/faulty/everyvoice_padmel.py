"""Acoustic model of a text-to-speech system: frame-level phones to log-mel frames and pitch (two outputs).

Fault: both mean squared errors run over the padded frames, whose targets are zeros; the lengths are
in the batch but play no part in the loss.
Source: EveryVoiceTTS/EveryVoice pull 887 (2026), "FS2 Loss included padded frames".
"""

import torch
import torch.nn as nn

KIND = "padding"
PH, MEL, T, D = 30, 16, 48, 48


class AcousticModel(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(PH + 1, D, padding_idx=0)
        nn.init.normal_(self.emb.weight[1:], std=0.5)
        self.convs = nn.ModuleList(nn.Conv1d(D, D, 5, padding=2) for _ in range(3))
        self.norms = nn.ModuleList(nn.LayerNorm(D) for _ in range(3))
        self.mel, self.pitch = nn.Linear(D, MEL), nn.Linear(D, 1)

    def forward(self, phones, lengths):
        keep = (torch.arange(phones.shape[1])[None] < lengths[:, None]).unsqueeze(-1)
        x = self.emb(phones)
        for c, n in zip(self.convs, self.norms):
            x = (x + torch.relu(c((n(x) * keep).transpose(1, 2))).transpose(1, 2)) * keep
        return self.mel(x), self.pitch(x).squeeze(-1)


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 12
    lens = torch.randint(14, T + 1, (B,))
    keep = torch.arange(T)[None] < lens[:, None]
    phones = torch.randint(1, PH + 1, (B, T // 4)).repeat_interleave(4, 1) * keep
    table, ptable = torch.randn(PH + 1, MEL), torch.randn(PH + 1)
    mel = torch.nn.functional.avg_pool1d(table[phones].transpose(1, 2), 3, 1, 1).transpose(1, 2)
    mel = (mel / mel[keep].std() - 3.0 + 0.2 * torch.randn(B, T, MEL)) * keep.unsqueeze(-1)
    pitch = ptable[phones] + 0.2 * torch.randn(B, T)
    pitch = (pitch - pitch[keep].mean()) / pitch[keep].std() * keep
    model = AcousticModel()
    with torch.no_grad():
        model.mel.bias.fill_(-3.0)

    def loss(out, target):
        (m, p), (tm, tp, n) = out, target
        if fixed:
            k = torch.arange(m.shape[1])[None] < n[:, None]
            return ((m - tm)[k] ** 2).mean() + ((p - tp)[k] ** 2).mean()
        return nn.functional.mse_loss(m, tm) + nn.functional.mse_loss(p, tp)

    opt = torch.optim.Adam(model.parameters(), lr=3e-3)
    return model, loss, ((phones, lens), (mel, pitch, lens)), opt
