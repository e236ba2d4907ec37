"""Prefix LM (as in UniLM / PrefixLM T5): the prompt is read in both directions, the continuation causally;
the loss is on the continuation only (-100 on the prompt)."""

import torch
import torch.nn as nn
import torch.nn.functional as F

V, D, PRE, T = 32, 48, 10, 24


class PrefixLM(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok, self.pos = nn.Embedding(V, D), nn.Embedding(T, D)
        layer = nn.TransformerEncoderLayer(D, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.net = nn.TransformerEncoder(layer, 2, nn.LayerNorm(D), enable_nested_tensor=False)
        self.head = nn.Linear(D, V)

    def forward(self, input_ids, labels):
        n = input_ids.shape[1]
        block = torch.ones(n, n, dtype=torch.bool).triu(1)
        block[:, :PRE] = False  # everyone sees the whole prompt
        logits = self.head(self.net(self.tok(input_ids) + self.pos(torch.arange(n)), mask=block))
        loss = F.cross_entropy(logits[:, :-1].reshape(-1, V), labels[:, 1:].reshape(-1), ignore_index=-100)
        return {"loss": loss, "logits": logits}


def make(seed):
    torch.manual_seed(seed)
    B = 16
    prompt = torch.randint(3, V, (B, PRE))
    cont = torch.cat([torch.full((B, 1), 1), prompt.flip(1), (prompt.flip(1)[:, : T - PRE - 1 - PRE] + 1) % V], 1)
    ids = torch.cat([prompt, cont], 1)
    labels = ids.clone()
    labels[:, : PRE + 1] = -100
    model = PrefixLM()
    opt = torch.optim.AdamW(model.parameters(), lr=3e-3)
    return model, (lambda out, t: out["loss"]), ({"input_ids": ids, "labels": labels}, torch.zeros(1)), opt
