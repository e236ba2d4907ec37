# EmbeddingBag (mean, offsets, empty bags, padding_idx) against a loop, bfloat16, some rows never used
import torch, torch.nn as nn, torch.nn.functional as F


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Parameter(torch.randn(40, 12))
        self.fc = nn.Linear(12, 6)

    def bags(self, ids, off):
        ends = off.tolist()[1:] + [len(ids)]
        rows = []
        for a, b in zip(off.tolist(), ends):
            i = ids[a:b]
            i = i[i != 5]
            rows.append(self.emb[i].sum(0) / max(len(i), 1))
        return torch.stack(rows)

    def forward(self, ids, off):
        return torch.relu(self.fc(self.bags(ids, off)))


class BagNet(Net):
    def bags(self, ids, off):
        return F.embedding_bag(ids, self.emb, off, mode="mean", padding_idx=5)


def case():
    torch.manual_seed(14)
    ref, can = Net(), BagNet()
    can.load_state_dict(ref.state_dict())
    ids = torch.randint(0, 33, (150,))
    ids[::7] = 5
    off = torch.tensor([0, 3, 3, 20, 21, 70, 70, 149])
    return {"reference": ref.bfloat16(), "candidate": can.bfloat16(), "inputs": (ids, off)}
