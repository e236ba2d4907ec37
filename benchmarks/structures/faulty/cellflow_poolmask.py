"""Set encoder with token attention pooling: padded sets of conditions (perturbations) per sample,
pooled by a learned class token, predicting the response of 5 genes.

Fault: the module takes the padding mask, but the class token's attention never sees it, so that
padded entries are pooled like real ones.
Source: theislab/CellFlow issue 226 (2025), "Mask in TokenAttentionPooling".
"""

import torch
import torch.nn as nn
import torch.nn.functional as F

KIND = "padding"
FEAT, D, S, OUT = 8, 48, 12, 5


class TokenAttentionPooling(nn.Module):
    def __init__(self, use_mask, heads=4):
        super().__init__()
        self.use_mask, self.heads = use_mask, heads
        self.cls = nn.Parameter(0.5 * torch.randn(1, 1, D))
        self.q, self.kv, self.o = nn.Linear(D, D), nn.Linear(D, 2 * D), nn.Linear(D, D)

    def forward(self, x, mask):
        B, n, _ = x.shape
        h = self.heads
        q = self.q(self.cls).view(1, 1, h, D // h).transpose(1, 2).expand(B, -1, -1, -1)
        k, v = self.kv(x).view(B, n, 2, h, D // h).permute(2, 0, 3, 1, 4)
        attn_mask = mask[:, None, None, :] if self.use_mask else None
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=attn_mask)
        return self.o(y.transpose(1, 2).reshape(B, D))


class ConditionEncoder(nn.Module):
    def __init__(self, use_mask):
        super().__init__()
        self.before = nn.Sequential(nn.Linear(FEAT, D), nn.SiLU(), nn.Linear(D, D))
        self.pool = TokenAttentionPooling(use_mask)
        self.after = nn.Sequential(nn.LayerNorm(D), nn.Linear(D, 64), nn.SiLU(), nn.Linear(64, OUT))

    def forward(self, conditions, mask):
        return self.after(self.pool(self.before(conditions), mask))


def make(seed, fixed):
    torch.manual_seed(seed)
    B = 32
    x = torch.randn(B, S, FEAT)
    n = torch.randint(2, S + 1, (B,))
    mask = torch.arange(S)[None] < n[:, None]
    x = x * mask[..., None]
    W = torch.randn(FEAT, OUT)
    y = (torch.tanh(x @ W) * mask[..., None]).sum(1) / n[:, None]
    y = (y - y.mean(0)) / y.std(0)
    model = ConditionEncoder(use_mask=fixed)
    opt = torch.optim.Adam(model.parameters(), lr=2e-3)
    return model, nn.MSELoss(), ({"conditions": x, "mask": mask}, y), opt
