"""encoder-decoder, teacher forcing, source and target padding masks"""

import torch
from torch import nn

torch.set_num_threads(1)
PAD, BOS, EOS = 0, 1, 2


class Seq2Seq(nn.Module):
    def __init__(self, V=40, d=40, L=24):
        super().__init__()
        self.src, self.tgt = nn.Embedding(V, d, padding_idx=PAD), nn.Embedding(V, d, padding_idx=PAD)
        self.ps, self.pt = nn.Parameter(torch.randn(L, d) * 0.1), nn.Parameter(torch.randn(L, d) * 0.1)
        self.tf = nn.Transformer(d, 4, 1, 1, 80, 0.1, batch_first=True)
        self.gen = nn.Linear(d, V)

    def forward(self, src, tgt_in):
        S, T = src.size(1), tgt_in.size(1)
        sp, tp = src == PAD, tgt_in == PAD
        h = self.tf(
            self.src(src) + self.ps[:S],
            self.tgt(tgt_in) + self.pt[:T],
            tgt_mask=torch.triu(torch.ones(T, T), 1).bool(),
            src_key_padding_mask=sp,
            tgt_key_padding_mask=tp,
            memory_key_padding_mask=sp,
        )
        return self.gen(h)


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    B, S = 20, 14
    n = torch.randint(6, S + 1, (B,), generator=g)
    n[0] = S
    src = torch.randint(3, 40, (B, S), generator=g) * (torch.arange(S)[None] < n[:, None])
    tgt = torch.full((B, S + 2), PAD)
    for b in range(B):
        w = [(t - 3 + 7) % 37 + 3 for t in src[b, : n[b]].tolist()]
        tgt[b, : len(w) + 2] = torch.tensor([BOS] + w + [EOS])
    m = Seq2Seq()
    ce = nn.CrossEntropyLoss(ignore_index=PAD, label_smoothing=0.1)
    return (
        m,
        (lambda o, y: ce(o.flatten(0, 1), y.flatten())),
        ((src, tgt[:, :-1].clone()), tgt[:, 1:].clone()),
        torch.optim.Adam(m.parameters(), lr=1e-3, betas=(0.9, 0.98)),
    )
