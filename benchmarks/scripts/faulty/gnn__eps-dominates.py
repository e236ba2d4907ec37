# base: gnn
# rule: WP604
# cause: eps-dominates
# line: optimizer = torch.optim.Adam(model.parameters(), args.lr, (0.9, 0.999), args.weight_decay)
# why: the fourth positional argument of Adam is eps: 2e-3 lies above sqrt(v) of nearly all weights (about 8e-4), so the steps shrink (and there is no weight decay)
"""Graph convolutional network, full batch (in the shape of pygcn), on a stochastic block graph."""
from __future__ import annotations

import argparse
import hashlib
import math
import time

import numpy as np
import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.parameter import Parameter

parser = argparse.ArgumentParser()
parser.add_argument("--seed", type=int, default=42)
parser.add_argument("--epochs", type=int, default=100)
parser.add_argument("--lr", type=float, default=0.01)
parser.add_argument("--weight_decay", type=float, default=2e-3)
parser.add_argument("--hidden", type=int, default=16)
parser.add_argument("--dropout", type=float, default=0.5)
args = parser.parse_args()

np.random.seed(args.seed)
torch.manual_seed(args.seed)


def load_data(n=600, n_class=4, n_feat=120, p_in=0.025, p_out=0.004):
    labels = np.random.randint(n_class, size=n)
    prob = np.where(labels[:, None] == labels[None, :], p_in, p_out)
    adj = np.triu(np.random.rand(n, n) < prob, 1)
    adj = (adj | adj.T).astype(np.float32)
    # bag of words: each class has some words that are likelier
    words = np.full((n_class, n_feat), 0.04)
    for c in range(n_class):
        words[c, c * 20:(c + 1) * 20] = 0.09
    feats = (np.random.rand(n, n_feat) < words[labels]).astype(np.float32)
    feats = feats / np.maximum(feats.sum(1, keepdims=True), 1)

    a = adj + np.eye(n, dtype=np.float32)
    d = 1.0 / np.sqrt(a.sum(1))
    a = torch.from_numpy(d[:, None] * a * d[None, :]).to_sparse_coo().coalesce()

    perm = torch.randperm(n)
    masks = [torch.zeros(n, dtype=torch.bool) for _ in range(3)]
    masks[0][perm[:120]] = True
    masks[1][perm[120:320]] = True
    masks[2][perm[320:]] = True
    return a, torch.from_numpy(feats), torch.from_numpy(labels), *masks


class GraphConvolution(nn.Module):
    def __init__(self, in_features, out_features):
        super().__init__()
        self.weight = Parameter(torch.empty(in_features, out_features))
        self.bias = Parameter(torch.empty(out_features))
        self.reset_parameters()

    def reset_parameters(self):
        nn.init.xavier_uniform_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x, adj):
        return torch.sparse.mm(adj, x @ self.weight) + self.bias


class GCN(nn.Module):
    def __init__(self, nfeat, nhid, nclass, dropout):
        super().__init__()
        self.gc1 = GraphConvolution(nfeat, nhid)
        self.gc2 = GraphConvolution(nhid, nclass)
        self.dropout = dropout

    def forward(self, x, adj):
        x = F.dropout(x, self.dropout, training=self.training)
        x = F.relu(self.gc1(x, adj))
        x = F.dropout(x, self.dropout, training=self.training)
        return F.log_softmax(self.gc2(x, adj), dim=1)


adj, features, labels, train_mask, val_mask, test_mask = load_data()
model = GCN(features.shape[1], args.hidden, int(labels.max()) + 1, args.dropout)
optimizer = torch.optim.Adam(model.parameters(), args.lr, (0.9, 0.999), args.weight_decay)


def accuracy(output, y):
    return (output.argmax(1) == y).float().mean().item()


def train(epoch):
    t = time.time()
    model.train()
    optimizer.zero_grad()
    output = model(features, adj)
    loss_train = F.nll_loss(output[train_mask], labels[train_mask])
    loss_train.backward()
    optimizer.step()

    model.eval()
    with torch.no_grad():
        output = model(features, adj)
        loss_val = F.nll_loss(output[val_mask], labels[val_mask])
    if epoch % 10 == 0:
        print(f"Epoch: {epoch:04d} loss_train: {loss_train.item():.4f} loss_val: {loss_val.item():.4f} "
              f"acc_val: {accuracy(output[val_mask], labels[val_mask]):.4f} time: {time.time() - t:.4f}s")


def test():
    model.eval()
    with torch.no_grad():
        output = model(features, adj)
        loss = F.nll_loss(output[test_mask], labels[test_mask])
    print(f"Test: loss {loss.item():.4f} accuracy {accuracy(output[test_mask], labels[test_mask]):.4f}")


for epoch in range(args.epochs):
    train(epoch)
test()

digest = hashlib.sha256()
for p in model.parameters():
    digest.update(p.detach().numpy().tobytes())
print("digest", digest.hexdigest())
