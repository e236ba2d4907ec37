"""SASRec next-item recommender (left-padded histories, nn.MultiheadAttention blocks).

Fault: the attention is called without the causality mask, so the item to be predicted at step t is
visible among the keys (it is the input at step t+1).
Source: liuqidong07/LLMEmb issue 2 (2025), "Question about the causality Mask of SASRec" (attn_mask is
commented out in models/SASRec.py).
"""

import torch
import torch.nn as nn

KIND = "future"
ITEMS, T, D = 60, 20, 48


class PointWiseFeedForward(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.conv1, self.conv2 = nn.Conv1d(d, d, 1), nn.Conv1d(d, d, 1)

    def forward(self, x):
        return x + self.conv2(torch.relu(self.conv1(x.transpose(1, 2)))).transpose(1, 2)


class SASRec(nn.Module):
    def __init__(self, causal, heads=2, layers=2):
        super().__init__()
        self.causal, self.heads = causal, heads
        self.item_emb = nn.Embedding(ITEMS + 1, D, padding_idx=0)
        self.pos_emb = nn.Embedding(T, D)
        self.attn_norms = nn.ModuleList(nn.LayerNorm(D) for _ in range(layers))
        self.attns = nn.ModuleList(nn.MultiheadAttention(D, heads, batch_first=True) for _ in range(layers))
        self.ffn_norms = nn.ModuleList(nn.LayerNorm(D) for _ in range(layers))
        self.ffns = nn.ModuleList(PointWiseFeedForward(D) for _ in range(layers))
        self.last_norm = nn.LayerNorm(D)
        nn.init.normal_(self.item_emb.weight, std=0.2)
        nn.init.normal_(self.pos_emb.weight, std=0.2)
        with torch.no_grad():
            self.item_emb.weight[0].zero_()

    def forward(self, log_seqs):
        B, L = log_seqs.shape
        pad = log_seqs == 0
        x = self.item_emb(log_seqs) + self.pos_emb(torch.arange(L))
        block = pad[:, None, :].expand(B, L, L).clone()  # True = may not be attended
        if self.causal:
            block |= ~torch.ones(L, L, dtype=torch.bool).tril()
        block.diagonal(dim1=1, dim2=2).fill_(False)
        block = block.repeat_interleave(self.heads, 0)
        for n1, att, n2, ffn in zip(self.attn_norms, self.attns, self.ffn_norms, self.ffns):
            q = n1(x)
            x = x + att(q, q, q, attn_mask=block, need_weights=False)[0]
            x = ffn(n2(x))
        return self.last_norm(x) @ self.item_emb.weight.T


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 24
    follow = torch.randint(1, ITEMS + 1, (ITEMS + 1, 3))  # three usual successors of an item
    hist = torch.zeros(B, T + 1, dtype=torch.long)
    for b in range(B):
        n = int(torch.randint(9, T + 2, (1,)))
        it = int(torch.randint(1, ITEMS + 1, (1,)))
        for t in range(T + 1 - n, T + 1):
            hist[b, t] = it
            it = int(follow[it, torch.randint(0, 3, (1,))])
    model = SASRec(causal=fixed)
    ce = nn.CrossEntropyLoss(ignore_index=0)

    def loss(logits, target):
        return ce(logits.reshape(-1, ITEMS + 1), target.reshape(-1))

    opt = torch.optim.Adam(model.parameters(), lr=2e-3, betas=(0.9, 0.98))
    return model, loss, (hist[:, :-1], hist[:, 1:].contiguous()), opt
