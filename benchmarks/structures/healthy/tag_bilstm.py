"""BiLSTM tagger with packing: the target at t is the label of token t (depends on the neighbours)"""

import torch
from torch import nn

torch.set_num_threads(1)
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence


class Tagger(nn.Module):
    def __init__(self, V=60, e=32, h=32, K=5):
        super().__init__()
        self.emb, self.rnn, self.drop, self.fc = (
            nn.Embedding(V, e, padding_idx=0),
            nn.LSTM(e, h, batch_first=True, bidirectional=True),
            nn.Dropout(0.2),
            nn.Linear(2 * h, K),
        )

    def forward(self, tokens, lengths):
        p = pack_padded_sequence(self.drop(self.emb(tokens)), lengths, batch_first=True, enforce_sorted=False)
        y, _ = pad_packed_sequence(self.rnn(p)[0], batch_first=True, total_length=tokens.size(1))
        return self.fc(y)


def make(seed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 1)
    B, T = 24, 20
    lens = torch.randint(8, T + 1, (B,), generator=g)
    x = torch.randint(1, 60, (B, T), generator=g) * (torch.arange(T)[None] < lens[:, None])
    nxt = torch.cat([x[:, 1:], torch.zeros(B, 1, dtype=torch.long)], 1)
    y = torch.where(nxt % 2 == 0, x % 3, 3 + x % 2).masked_fill(x == 0, -1)
    m = Tagger()
    ce = nn.CrossEntropyLoss(ignore_index=-1)
    return (
        m,
        (lambda o, y: ce(o.flatten(0, 1), y.flatten())),
        ({"tokens": x, "lengths": lens}, y),
        torch.optim.Adam(m.parameters(), lr=5e-3),
    )
