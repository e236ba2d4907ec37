# attention with a learned sink per head: concatenated extra column against sdpa-like output times sigmoid(lse - sink)
import torch, torch.nn as nn

H, D = 3, 30


class Attn(nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv, self.o = nn.Linear(D, 3 * D), nn.Linear(D, D)
        self.sink = nn.Parameter(torch.randn(H))
        self.qn, self.kn = nn.Parameter(torch.ones(D // H)), nn.Parameter(torch.ones(D // H))

    def core(self, s, v):
        sink = self.sink[None, :, None, None].expand(*s.shape[:-1], 1)
        return torch.cat([s, sink], -1).softmax(-1)[..., :-1] @ v

    def forward(self, x):
        b, l, _ = x.shape
        q, k, v = self.qkv(x).view(b, l, 3, H, -1).permute(2, 0, 3, 1, 4)
        q = torch.nn.functional.rms_norm(q, (D // H,), self.qn, 1e-6)
        k = torch.nn.functional.rms_norm(k, (D // H,), self.kn, 1e-6)
        s = (q @ k.transpose(-1, -2) * (D // H) ** -0.5)
        s = s.masked_fill(torch.ones(l, l, dtype=torch.bool).triu(1), float("-inf"))
        return self.o(self.core(s, v).transpose(1, 2).reshape(b, l, D))


class LseAttn(Attn):
    def core(self, s, v):
        w = s if s.dtype == torch.float64 else s.float()
        lse = w.logsumexp(-1, keepdim=True)
        o = (w - lse).exp().to(v.dtype) @ v
        return o * torch.sigmoid(lse - self.sink[None, :, None, None].to(lse.dtype)).to(v.dtype)


def case():
    torch.manual_seed(17)
    ref, can = Attn(), LseAttn()
    can.load_state_dict(ref.state_dict())
    return {"reference": ref.bfloat16(), "candidate": can.bfloat16(),
            "inputs": (torch.randn(3, 22, D).bfloat16().requires_grad_(),)}
