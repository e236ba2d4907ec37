"""Encoder-decoder translation with teacher forcing (nn.Transformer): the encoder sees the whole source,
the decoder is causal; the decoder's input is the target shifted right; padding masked and ignored."""

import torch
import torch.nn as nn

PAD, BOS, EOS, V, D, S = 0, 1, 2, 30, 48, 12


class Seq2Seq(nn.Module):
    def __init__(self):
        super().__init__()
        self.src, self.tgt, self.pos = nn.Embedding(V, D, PAD), nn.Embedding(V, D, PAD), nn.Embedding(32, D)
        self.tr = nn.Transformer(D, 4, 1, 1, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.tr.encoder.enable_nested_tensor = False
        self.out = nn.Linear(D, V)

    def forward(self, src, tgt_in):
        def emb(e, x):
            return e(x) + self.pos(torch.arange(x.shape[1]))

        n = tgt_in.shape[1]
        h = self.tr(
            emb(self.src, src),
            emb(self.tgt, tgt_in),
            tgt_mask=torch.ones(n, n, dtype=torch.bool).triu(1),
            src_key_padding_mask=src == PAD,
            tgt_key_padding_mask=tgt_in == PAD,
            memory_key_padding_mask=src == PAD,
        )
        return self.out(h)


def make(seed):
    torch.manual_seed(seed)
    B = 16
    perm = torch.randperm(V - 3)
    src, tgt = torch.full((B, S), PAD), torch.full((B, S + 2), PAD)
    for b in range(B):
        n = int(torch.randint(5, S + 1, (1,)))
        w = torch.randint(0, V - 3, (n,))
        src[b, :n] = w + 3
        tgt[b, : n + 2] = torch.cat([torch.tensor([BOS]), perm[w].flip(0) + 3, torch.tensor([EOS])])
    model = Seq2Seq()
    ce = nn.CrossEntropyLoss(ignore_index=PAD)
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return (
        model,
        (lambda o, y: ce(o.transpose(1, 2), y)),
        ((src, tgt[:, :-1].contiguous()), tgt[:, 1:].contiguous()),
        opt,
    )
