"""GIT-like image captioner (image patches as prefix, causal text after them), Hugging-Face style:
labels go in, the loss is computed in forward.

Fault: forward shifts logits and labels by one and hands them to a causal-LM loss function that
shifts the labels once more, so position t learns token t+2.
Source: huggingface/transformers issue 47394 (2026), "GitForCausalLM double-shifts the training loss and
leaks targets across batch rows".
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "targets"
V, D, PAD, BOS, EOS = 30, 48, 0, 1, 2
N_IMG = 16


def causal_lm_loss(logits, labels=None, shift_labels=None, ignore_index=-100):
    if shift_labels is None:
        labels = F.pad(labels, (0, 1), value=ignore_index)
        shift_labels = labels[..., 1:]
    return F.cross_entropy(logits.reshape(-1, V), shift_labels.reshape(-1), ignore_index=ignore_index)


class GitForCausalLM(nn.Module):
    def __init__(self, pass_shift_labels):
        super().__init__()
        self.pass_shift_labels = pass_shift_labels
        self.patch = nn.Conv2d(3, D, 4, stride=4)
        self.img_pos = nn.Parameter(0.1 * torch.randn(N_IMG, D))
        self.word = nn.Embedding(V, D)
        self.word_pos = nn.Embedding(16, D)
        layer = nn.TransformerEncoderLayer(D, 4, 96, dropout=0.0, batch_first=True, norm_first=True)
        self.encoder = nn.TransformerEncoder(layer, 2, nn.LayerNorm(D), enable_nested_tensor=False)
        self.output = nn.Linear(D, V)

    def forward(self, pixel_values, input_ids, labels=None):
        B, L = input_ids.shape
        img = self.patch(pixel_values).flatten(2).transpose(1, 2) + self.img_pos
        txt = self.word(input_ids) + self.word_pos(torch.arange(L))
        n = N_IMG + L
        block = torch.ones(n, n, dtype=torch.bool).triu(1)
        block[:N_IMG, :N_IMG] = False
        block[:N_IMG, N_IMG:] = True
        logits = self.output(self.encoder(torch.cat([img, txt], 1), mask=block))
        loss = None
        if labels is not None:
            shifted_logits = logits[:, N_IMG:-1, :].contiguous()
            if self.pass_shift_labels:
                loss = causal_lm_loss(shifted_logits, shift_labels=labels[:, 1:].contiguous())
            else:
                labels = labels[:, 1:].contiguous()
                loss = causal_lm_loss(shifted_logits.view(-1, V), labels.view(-1))
        return {"loss": loss, "logits": logits}


def make(seed, fixed):
    torch.manual_seed(seed)
    B, L = 16, 9
    colour = torch.randint(0, 3, (B,))
    quad = torch.randint(0, 4, (B,))
    img = 0.3 * torch.randn(B, 3, 16, 16)
    ids = torch.full((B, L), PAD)
    for b in range(B):
        r, c = int(quad[b]) // 2 * 8, int(quad[b]) % 2 * 8
        img[b, colour[b], r : r + 8, c : c + 8] += 2.0
        n_adj = int(torch.randint(0, 3, (1,)))
        adj = (20 + torch.randint(0, 6, (n_adj,))).tolist()
        sent = [BOS, 3 + int(torch.randint(0, 2, (1,)))] + adj + [6 + int(colour[b]), 10, 12 + int(quad[b]), EOS]
        ids[b, : len(sent)] = torch.tensor(sent)
    labels = ids.masked_fill(ids == PAD, -100)
    model = GitForCausalLM(pass_shift_labels=fixed)
    opt = torch.optim.AdamW(model.parameters(), lr=2e-3)
    return (
        model,
        (lambda out, t: out["loss"]),
        ({"pixel_values": img, "input_ids": ids, "labels": labels}, torch.zeros(1)),
        opt,
    )
