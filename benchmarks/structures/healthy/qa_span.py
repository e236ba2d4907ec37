"""extractive question answering: start and end positions, padding masked out of the position logits"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, V=60, d=32, L=28):
        super().__init__()
        self.e, self.p, self.s = nn.Embedding(V, d, padding_idx=0), nn.Embedding(L, d), nn.Embedding(2, d)
        for q in (self.p, self.s):
            nn.init.normal_(q.weight, std=0.2)
        self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 4, 64, 0.0, batch_first=True), 2)
        self.qa = nn.Linear(d, 2)

    def forward(self, ids, seg):
        pad = ids == 0
        h = self.enc(self.e(ids) + self.p.weight[: ids.shape[1]] + self.s(seg), src_key_padding_mask=pad)
        st, en = self.qa(h).unbind(-1)
        return st.masked_fill(pad, -1e4), en.masked_fill(pad, -1e4)


def make(seed):
    torch.manual_seed(seed)
    B, T = 32, 24
    ids = torch.randint(5, 60, (B, T))
    seg = torch.ones(B, T, dtype=torch.long)
    seg[:, :2] = 0
    st = torch.randint(3, 12, (B,))
    en = st + torch.randint(1, 4, (B,))
    b = torch.arange(B)
    ids[:, 1] = 4
    ids[b, st], ids[b, en] = 2, 3
    ids = ids * (torch.arange(T)[None] < torch.randint(17, T + 1, (B, 1)))
    ids[0, -1] = 9
    m = Net()
    return (
        m,
        (lambda o, y: (F.cross_entropy(o[0], y[:, 0]) + F.cross_entropy(o[1], y[:, 1])) / 2),
        ((ids, seg), torch.stack([st, en], 1)),
        torch.optim.AdamW(m.parameters(), lr=2e-3),
    )
