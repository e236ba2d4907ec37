"""EmbeddingBag classifier with offsets, order rightly does not matter"""

import torch
from torch import nn

torch.set_num_threads(1)


class BoW(nn.Module):
    def __init__(self, V=200, d=24, K=4):
        super().__init__()
        self.bag, self.fc = nn.EmbeddingBag(V, d, mode="mean"), nn.Linear(d, K)
        nn.init.uniform_(self.bag.weight, -0.5, 0.5)

    def forward(self, text, offsets):
        return self.fc(self.bag(text, offsets))


def make(seed):
    torch.manual_seed(seed)
    y = torch.randint(0, 4, (32,))
    ws, off = [], []
    for k in y.tolist():
        n = int(torch.randint(5, 16, (1,)))
        off.append(len(ws))
        ws += torch.where(
            torch.rand(n) < 0.4, torch.randint(0, 40, (n,)) + 40 * k, torch.randint(160, 200, (n,))
        ).tolist()
    m = BoW()
    return (
        m,
        nn.CrossEntropyLoss(),
        ((torch.tensor(ws), torch.tensor(off)), y),
        torch.optim.Adam(m.parameters(), lr=1e-2),
    )
