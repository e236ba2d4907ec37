"""Masked language model / masked diffusion LM (LLaDA, SMDM style), loss inside forward: attention in both
directions; short texts are filled up with EOS tokens, which are legitimately attended to and predicted;
loss on the masked positions only."""

import torch
import torch.nn as nn
import torch.nn.functional as F

V, MASK, EOS, D, T = 36, 0, 1, 48, 22


class MaskedDiffusionLM(nn.Module):
    def __init__(self):
        super().__init__()
        self.tok, self.pos = nn.Embedding(V, D), nn.Embedding(T, D)
        layer = nn.TransformerEncoderLayer(D, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.net = nn.TransformerEncoder(layer, 2, nn.LayerNorm(D), enable_nested_tensor=False)
        self.head = nn.Linear(D, V)

    def forward(self, input_ids, labels=None):
        logits = self.head(self.net(self.tok(input_ids) + self.pos(torch.arange(input_ids.shape[1]))))
        loss = None if labels is None else F.cross_entropy(logits.view(-1, V), labels.view(-1), ignore_index=-100)
        return {"loss": loss, "logits": logits}


def make(seed):
    torch.manual_seed(seed)
    B = 16
    P = torch.softmax(4 * torch.randn(V - 2, V - 2), -1)
    x = torch.full((B, T), EOS)
    for b in range(B):
        w = int(torch.randint(0, V - 2, (1,)))
        for t in range(int(torch.randint(10, T, (1,)))):
            x[b, t] = w + 2
            w = int(torch.multinomial(P[w], 1))
    hide = torch.rand(B, T) < 0.3
    model = MaskedDiffusionLM()
    batch = ({"input_ids": x.masked_fill(hide, MASK), "labels": x.masked_fill(~hide, -100)}, torch.zeros(1))
    return model, (lambda o, t: o["loss"]), batch, torch.optim.AdamW(model.parameters(), lr=3e-3)
