"""text classifier, mean over real tokens only"""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)


class Net(nn.Module):
    def __init__(self, V=100, d=32, K=3, L=24):
        super().__init__()
        self.e, self.p = nn.Embedding(V, d, padding_idx=0), nn.Parameter(torch.randn(L, d) * 0.1)
        self.enc = nn.TransformerEncoder(nn.TransformerEncoderLayer(d, 4, 64, 0.1, batch_first=True), 1)
        self.fc = nn.Linear(d, K)

    def forward(self, input_ids, attention_mask):
        h = self.enc(self.e(input_ids) + self.p[: input_ids.shape[1]], src_key_padding_mask=attention_mask == 0)
        w = attention_mask.unsqueeze(-1).float()
        return self.fc((h * w).sum(1) / w.sum(1).clamp(min=1))


def make(seed):
    torch.manual_seed(seed)
    B, T = 32, 20
    y = torch.randint(0, 3, (B,))
    n = torch.randint(6, T + 1, (B,))
    n[0] = T
    x = torch.where(
        torch.rand(B, T) < 0.4, 1 + 20 * y[:, None] + torch.randint(0, 20, (B, T)), torch.randint(61, 100, (B, T))
    )
    am = (torch.arange(T)[None] < n[:, None]).long()
    m = Net()
    return (
        m,
        F.cross_entropy,
        ({"input_ids": x * am, "attention_mask": am}, y),
        torch.optim.AdamW(m.parameters(), lr=1e-3),
    )
