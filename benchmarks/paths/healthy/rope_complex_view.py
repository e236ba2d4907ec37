# rotary embedding by complex multiplication (interleaved, view_as_complex) against sine and cosine, float16 inputs
import torch


def case():
    torch.manual_seed(10)
    L, d = 33, 14
    ang = torch.arange(L, dtype=torch.float64)[:, None] * 50.0 ** (-torch.arange(0, d, 2, dtype=torch.float64) / d)
    q, k = (torch.randn(2, 3, L, d).half().requires_grad_() for _ in range(2))

    def reference(q, k):
        c, s = ang.cos().to(q.dtype), ang.sin().to(q.dtype)

        def rot(x):
            a, b = x[..., 0::2], x[..., 1::2]
            return torch.stack([a * c - b * s, a * s + b * c], -1).flatten(-2)
        return rot(q) @ rot(k).transpose(-1, -2) * d ** -0.5

    def candidate(q, k):
        w = torch.float64 if q.dtype == torch.float64 else torch.float32
        rot = lambda x: torch.view_as_real(
            torch.view_as_complex(x.to(w).unflatten(-1, (-1, 2)).contiguous()) * torch.polar(torch.ones_like(ang), ang)
        ).flatten(-2).to(x.dtype)
        return rot(q) @ rot(k).transpose(-1, -2) * d ** -0.5

    return {"reference": reference, "candidate": candidate, "inputs": (q, k)}
