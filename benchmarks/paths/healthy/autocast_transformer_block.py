# pre-norm transformer block under bfloat16 autocast (sdpa) against the plain block in float32
import torch, torch.nn as nn, torch.nn.functional as F

D, H = 36, 4


class Block(nn.Module):
    def __init__(self):
        super().__init__()
        self.n1, self.n2 = nn.LayerNorm(D), nn.LayerNorm(D)
        self.qkv, self.o = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.f1, self.f2 = nn.Linear(D, 90), nn.Linear(90, D)

    def core(self, q, k, v):
        s = q @ k.transpose(-1, -2) / (D // H) ** 0.5
        m = torch.ones(s.shape[-2:], dtype=torch.bool).triu(1)
        return s.masked_fill(m, float("-inf")).softmax(-1) @ v

    def forward(self, x):
        b, s, _ = x.shape
        q, k, v = self.qkv(self.n1(x)).view(b, s, 3, H, -1).permute(2, 0, 3, 1, 4)
        x = x + self.o(self.core(q, k, v).transpose(1, 2).reshape(b, s, D))
        return x + self.f2(F.gelu(self.f1(self.n2(x))))


class AutocastBlock(Block):
    def core(self, q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=True)

    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x)


def case():
    torch.manual_seed(1)
    ref, can = Block(), AutocastBlock()
    can.load_state_dict(ref.state_dict())
    return {"reference": ref, "candidate": can, "inputs": (torch.randn(3, 19, D).requires_grad_(),)}
