"""Span prediction (extractive question answering, BERT-like): question and padded context in one row, start and
end logits over the positions, padding masked in attention and in the logits."""

import torch
import torch.nn as nn
import torch.nn.functional as F

PAD, SEP, V, D, QL, T = 0, 1, 60, 48, 3, 28


class SpanQA(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok, self.pos, self.seg = nn.Embedding(V, D, PAD), nn.Embedding(T, D), nn.Embedding(2, D)
        layer = nn.TransformerEncoderLayer(D, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.enc = nn.TransformerEncoder(layer, 2, nn.LayerNorm(D), enable_nested_tensor=False)
        self.qa = nn.Linear(D, 2)

    def forward(self, input_ids, token_type_ids, attention_mask):
        x = self.tok(input_ids) + self.pos(torch.arange(input_ids.shape[1])) + self.seg(token_type_ids)
        h = self.enc(x, src_key_padding_mask=attention_mask == 0)
        s = self.qa(h).masked_fill(attention_mask[..., None] == 0, -1e4)
        return s[..., 0], s[..., 1]


def make(seed):
    torch.manual_seed(seed)
    B = 24
    ids = torch.full((B, T), PAD)
    start, end = torch.zeros(B, dtype=torch.long), torch.zeros(B, dtype=torch.long)
    for b in range(B):
        n = int(torch.randint(14, T - QL, (1,)))
        ctx = torch.randint(12, V, (n,))
        key, k = 2 + int(torch.randint(0, 10, (1,))), int(torch.randint(1, 4, (1,)))
        at = int(torch.randint(1, n - 4, (1,)))
        ctx[at - 1] = key  # the answer: the k words after the key
        ids[b, : QL + n] = torch.cat([torch.tensor([key, 11 + k, SEP]), ctx])
        start[b], end[b] = QL + at, QL + at + k - 1
    seg = (torch.arange(T)[None] >= QL).long().expand(B, T).contiguous()
    model = SpanQA()

    def loss(o, t):
        return 0.5 * (F.cross_entropy(o[0], t[0]) + F.cross_entropy(o[1], t[1]))

    batch = ({"input_ids": ids, "token_type_ids": seg, "attention_mask": (ids != PAD).long()}, (start, end))
    return model, loss, batch, torch.optim.AdamW(model.parameters(), lr=2e-3)
