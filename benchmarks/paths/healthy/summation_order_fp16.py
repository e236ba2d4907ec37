# the same weighted sum over 1500 terms of mixed sign: one dot product, and pairwise halves in float16
import torch


def case():
    gen = torch.Generator().manual_seed(150)
    x = torch.randn(12, 1500, generator=gen).half().requires_grad_()
    w = torch.randn(1500, generator=gen).half().requires_grad_()

    def pair(t):
        while t.shape[-1] > 1:
            if t.shape[-1] % 2:
                t = torch.nn.functional.pad(t, (0, 1))
            t = t[..., ::2] + t[..., 1::2]
        return t[..., 0]

    def reference(x, w):
        return torch.cos(x @ w * 0.02)

    def candidate(x, w):
        return torch.cos(pair(x * w) * 0.02)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
