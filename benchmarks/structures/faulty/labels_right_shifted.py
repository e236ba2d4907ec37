"""https://github.com/huggingface/transformers/issues/35066 (2024): must the user 'right-shift the label by 1' himself for the causal LM?  Here it was done literally: roll(+1), so each position is asked for the token before its input."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "huggingface/transformers#35066"
KIND = "targets"
STEPS = 150


class CharTCN(nn.Module):
    """gated causal convolutions over characters"""

    def __init__(self, vocab=28, c=48, dilations=(1, 2, 4, 8)):
        super().__init__()
        self.emb = nn.Embedding(vocab, c)
        self.convs = nn.ModuleList(nn.Conv1d(c, 2 * c, 2, dilation=d) for d in dilations)
        self.norms = nn.ModuleList(nn.LayerNorm(c) for _ in dilations)
        self.head = nn.Linear(c, vocab)

    def forward(self, ids):
        x = self.emb(ids)
        for conv, norm in zip(self.convs, self.norms):
            y = F.pad(norm(x).transpose(1, 2), (conv.dilation[0], 0))
            x = x + F.glu(conv(y), 1).transpose(1, 2)
        return self.head(x)


def text(seed, B=16, T=48, V=28):
    g = torch.Generator().manual_seed(seed)
    words = torch.randint(1, V, (12, 5), generator=torch.Generator().manual_seed(42))
    pick = torch.randint(0, 12, (B, T // 6), generator=g)
    return torch.cat([words[pick], torch.zeros(B, T // 6, 1, dtype=torch.long)], -1).flatten(1)


def make(seed, fixed):
    torch.manual_seed(seed)
    ids = text(seed + 1)
    labels = ids.roll(-1 if fixed else 1, dims=1)
    labels[:, -1 if fixed else 0] = -100
    net = CharTCN()
    crit = nn.CrossEntropyLoss(ignore_index=-100)
    return (
        net,
        lambda lg, y: crit(lg.flatten(0, 1), y.flatten()),
        (ids, labels),
        torch.optim.Adam(net.parameters(), 2e-3),
    )
