"""Molecule property regression: dense GNN over padded node sets (message passing respects the node
mask), graph readout by mean.

Fault: the readout is h.mean(dim=1): the rows of the padding nodes are averaged in, so a molecule's
representation depends on how large the batch's largest molecule is.
Source: huggingface/transformers issue 17463 (2022), mean pooling over last_hidden_state takes the padded
positions in and changes with the batch (the same mistake, there with text).
"""

import torch
import torch.nn as nn

KIND = "padding"
NMAX, ATOMS, D = 18, 7, 48


class GraphConv(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.self_lin, self.nb_lin, self.norm = nn.Linear(d, d), nn.Linear(d, d), nn.LayerNorm(d)

    def forward(self, h, adj):
        deg = adj.sum(-1, keepdim=True).clamp(min=1)
        return h + torch.relu(self.norm(self.self_lin(h) + self.nb_lin(adj @ h / deg)))


class MolNet(nn.Module):
    def __init__(self, masked_readout):
        super().__init__()
        self.masked_readout = masked_readout
        self.atom = nn.Embedding(ATOMS + 1, D)
        self.convs = nn.ModuleList(GraphConv(D) for _ in range(3))
        self.mlp = nn.Sequential(nn.Linear(D, 64), nn.ReLU(), nn.Linear(64, 1))

    def forward(self, atoms, adj, node_mask):
        adj = adj * node_mask[:, None, :] * node_mask[:, :, None]
        h = self.atom(atoms)
        for conv in self.convs:
            h = conv(h, adj)
        if self.masked_readout:
            g = (h * node_mask[..., None]).sum(1) / node_mask.sum(1, keepdim=True)
        else:
            g = h.mean(dim=1)
        return self.mlp(g).squeeze(-1)


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 24
    n = torch.randint(4, NMAX + 1, (B,))
    mask = (torch.arange(NMAX)[None] < n[:, None]).float()
    atoms = torch.randint(1, ATOMS + 1, (B, NMAX)) * mask.long()
    adj = torch.zeros(B, NMAX, NMAX)
    for b in range(B):
        for i in range(1, int(n[b])):
            j = int(torch.randint(max(0, i - 3), i, (1,)))
            adj[b, i, j] = adj[b, j, i] = 1.0
    w = torch.randn(ATOMS + 1)
    pair = (w[atoms][:, :, None] * w[atoms][:, None, :] * adj).sum((1, 2)) / n
    y = (w[atoms] * mask).sum(1) / n + 0.5 * pair
    y = (y - y.mean()) / y.std()
    model = MolNet(masked_readout=fixed)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    return model, nn.MSELoss(), ((atoms, adj, mask), y), opt
