"""Protein family language model trained on packed sequences (several proteins in one row).

Fault: position_ids restart at every protein, and the author relies on that alone to keep the
packed proteins apart; the attention mask stays one big lower triangle, so a protein attends to the
proteins packed before it.
Source: alex-hh/profam issue 495 (2025), "Sequence packing not working as expected: looks like
attention applied across documents".
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "future"
AA, D, HEADS, NDOC, DLEN = 24, 48, 4, 3, 14


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln1, self.ln2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.proj = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.mlp = nn.Sequential(nn.Linear(D, 2 * D), nn.GELU(), nn.Linear(2 * D, D))

    def forward(self, x, mask):
        B, T, _ = x.shape
        q, k, v = self.qkv(self.ln1(x)).view(B, T, 3, HEADS, D // HEADS).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = x + self.proj(y.transpose(1, 2).reshape(B, T, D))
        return x + self.mlp(self.ln2(x))


class ProteinForCausalLM(nn.Module):
    def __init__(self, document_mask):
        super().__init__()
        self.document_mask = document_mask
        self.embed = nn.Embedding(AA, D)
        self.pos = nn.Embedding(64, D)
        self.blocks = nn.ModuleList(Block() for _ in range(2))
        self.norm = nn.LayerNorm(D)
        self.lm_head = nn.Linear(D, AA, bias=False)
        nn.init.normal_(self.embed.weight, std=0.3)
        nn.init.normal_(self.pos.weight, std=0.3)

    def forward(self, input_ids, position_ids, labels=None):
        B, T = input_ids.shape
        mask = torch.ones(T, T, dtype=torch.bool).tril().expand(B, 1, T, T)
        if self.document_mask:
            doc = (position_ids == 0).cumsum(1)
            mask = mask & (doc[:, None, :, None] == doc[:, None, None, :])
        x = self.embed(input_ids) + self.pos(position_ids)
        for blk in self.blocks:
            x = blk(x, mask)
        logits = self.lm_head(self.norm(x))
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].reshape(-1, AA), labels[:, 1:].reshape(-1), ignore_index=-100)
        return {"loss": loss, "logits": logits}


def _data(B=12):
    P = torch.softmax(2.5 * torch.randn(AA - 2, AA - 2), -1)
    ids = torch.zeros(B, NDOC, DLEN, dtype=torch.long)
    for d in range(NDOC):
        tok = torch.randint(0, AA - 2, (B,))
        for t in range(1, DLEN):
            ids[:, d, t] = tok + 2
            tok = torch.multinomial(P[tok], 1).squeeze(1)
        ids[:, d, 0] = 1  # <cls> opens a protein
    labels = ids.clone()
    labels[:, :, 0] = -100  # never predict the next protein's <cls>
    pos = torch.arange(DLEN).repeat(NDOC).expand(B, -1).contiguous()
    return ids.view(B, -1), pos, labels.view(B, -1)


def make(seed, fixed):
    torch.manual_seed(seed)
    ids, pos, labels = _data()
    model = ProteinForCausalLM(document_mask=fixed)
    batch = ({"input_ids": ids, "position_ids": pos, "labels": labels}, torch.zeros(1))
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return model, (lambda out, targets: out["loss"]), batch, opt
