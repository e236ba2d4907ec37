"""https://github.com/yg211/bert_nli/pull/3 (2020): attention masks are initialised with ones everywhere, padded tokens included, so the encoder attends to padding."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "yg211/bert_nli#3"
KIND = "padding"
STEPS = 120
PAD, CLS, SEP = 0, 1, 2


def build_batch(sentence_pairs, right):
    """token ids, token types, attention mask - padded to the longest pair"""
    seqs = [[CLS] + a + [SEP] + b + [SEP] for a, b in sentence_pairs]
    types = [[0] * (len(a) + 2) + [1] * (len(b) + 1) for a, b in sentence_pairs]
    top = max(map(len, seqs))
    ids, tt, mask = [], [], []
    for s, t in zip(seqs, types):
        gap = top - len(s)
        ids.append(s + [PAD] * gap)
        tt.append(t + [0] * gap)
        mask.append([1] * len(s) + [0 if right else 1] * gap)
    return {"input_ids": torch.tensor(ids), "token_type_ids": torch.tensor(tt), "attention_mask": torch.tensor(mask)}


class BertBlock(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h, self.q, self.k, self.v, self.o = h, *(nn.Linear(d, d) for _ in range(4))
        self.ln1, self.ln2, self.ff = (
            nn.LayerNorm(d),
            nn.LayerNorm(d),
            nn.Sequential(nn.Linear(d, 2 * d), nn.GELU(), nn.Linear(2 * d, d)),
        )

    def forward(self, x, bias):
        split = lambda z: z.unflatten(-1, (self.h, -1)).transpose(1, 2)
        a = F.scaled_dot_product_attention(split(self.q(x)), split(self.k(x)), split(self.v(x)), attn_mask=bias)
        x = self.ln1(x + self.o(a.transpose(1, 2).flatten(2)))
        return self.ln2(x + self.ff(x))


class BertNLI(nn.Module):
    def __init__(self, vocab=60, d=48):
        super().__init__()
        self.word, self.pos, self.typ = nn.Embedding(vocab, d), nn.Embedding(64, d), nn.Embedding(2, d)
        for e in (self.word, self.pos, self.typ):
            nn.init.normal_(e.weight, std=0.1)
        self.ln, self.blocks, self.cls = (
            nn.LayerNorm(d),
            nn.ModuleList([BertBlock(d, 4), BertBlock(d, 4)]),
            nn.Linear(d, 3),
        )

    def forward(self, input_ids, token_type_ids, attention_mask):
        x = self.ln(self.word(input_ids) + self.pos.weight[: input_ids.shape[1]] + self.typ(token_type_ids))
        bias = (1.0 - attention_mask[:, None, None].float()) * -1e4
        for b in self.blocks:
            x = b(x, bias)
        return {"logits": self.cls(x[:, 0])}


def pairs(seed, B=32):
    g = torch.Generator().manual_seed(seed)
    r = lambda a, b: int(torch.randint(a, b, (), generator=g))
    out, y = [], []
    for _ in range(B):
        a = [r(3, 60) for _ in range(r(3, 20))]
        label = r(0, 3)
        b = (
            [a[r(0, len(a))] for _ in range(r(2, 6))]
            if label == 0
            else [r(3, 60) for _ in range(r(2, 6))]
            if label == 1
            else [3 + (t - 2) % 57 for t in a[: r(2, 6)]]
        )
        out.append((a, b))
        y.append(label)
    return out, torch.tensor(y)


def make(seed, fixed):
    torch.manual_seed(seed)
    p, y = pairs(seed + 1)
    net = BertNLI()
    return (
        net,
        lambda out, y: F.cross_entropy(out["logits"], y),
        (build_batch(p, right=fixed), y),
        torch.optim.AdamW(net.parameters(), 1e-3),
    )
