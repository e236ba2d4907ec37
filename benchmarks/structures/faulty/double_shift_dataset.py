"""https://github.com/wdndev/tiny-llm-zh/issues/10 (2024): the dataset returns X = s[:-1], Y = s[1:], and the model's forward shifts logits and labels once more; it is trained on the token after next."""

import torch
import torch.nn.functional as F
from torch import nn

torch.set_num_threads(1)
SOURCE = "wdndev/tiny-llm-zh#10"
KIND = "targets"
STEPS = 150


class PTMDataset(torch.utils.data.Dataset):
    def __init__(self, samples, preshift):
        self.samples, self.preshift = samples, preshift

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        s = self.samples[i]
        return (s[:-1], s[1:]) if self.preshift else (s, s.clone())


class RMSNorm(nn.Module):
    def __init__(self, d):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(d))

    def forward(self, x):
        return self.weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Block(nn.Module):
    def __init__(self, d, h):
        super().__init__()
        self.h, self.qkv, self.o = h, nn.Linear(d, 3 * d, bias=False), nn.Linear(d, d, bias=False)
        self.gate, self.up, self.down = (
            nn.Linear(d, 2 * d, bias=False),
            nn.Linear(d, 2 * d, bias=False),
            nn.Linear(2 * d, d, bias=False),
        )
        self.n1, self.n2 = RMSNorm(d), RMSNorm(d)

    def forward(self, x):
        B, T, D = x.shape
        q, k, v = self.qkv(self.n1(x)).view(B, T, 3, self.h, D // self.h).permute(2, 0, 3, 1, 4)
        x = x + self.o(F.scaled_dot_product_attention(q, k, v, is_causal=True).transpose(1, 2).reshape(B, T, D))
        y = self.n2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class TinyLLM(nn.Module):
    def __init__(self, vocab=36, d=40):
        super().__init__()
        self.wte, self.wpe = nn.Embedding(vocab, d), nn.Embedding(40, d)
        nn.init.normal_(self.wte.weight, std=0.2)
        nn.init.normal_(self.wpe.weight, std=0.05)
        self.blocks, self.norm, self.head = (
            nn.Sequential(Block(d, 4), Block(d, 4)),
            RMSNorm(d),
            nn.Linear(d, vocab, bias=False),
        )

    def forward(self, input_ids, labels):
        logits = self.head(self.norm(self.blocks(self.wte(input_ids) + self.wpe.weight[: input_ids.shape[1]])))
        shift_logits, shift_labels = logits[..., :-1, :].contiguous(), labels[..., 1:].contiguous()
        loss = F.cross_entropy(shift_logits.view(-1, logits.shape[-1]), shift_labels.view(-1))
        return loss, logits


def make(seed, fixed):
    torch.manual_seed(seed)
    g = torch.Generator().manual_seed(seed + 2)
    trans = torch.randint(0, 36, (36, 4), generator=torch.Generator().manual_seed(0))
    seqs = torch.randint(0, 36, (16, 33), generator=g)
    for t in range(1, 33):
        seqs[:, t] = trans[seqs[:, t - 1], torch.randint(0, 4, (16,), generator=g)]
    X, Y = next(iter(torch.utils.data.DataLoader(PTMDataset(seqs, preshift=not fixed), batch_size=16)))
    model = TinyLLM()
    return model, (lambda out, _: out[0]), ((X, Y), None), torch.optim.AdamW(model.parameters(), 2e-3)
