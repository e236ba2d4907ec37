# max over a window: products rounded to bf16 tie, float32 knows a winner; both ways take the first maximum
import torch


def case():
    gen = torch.Generator().manual_seed(128)
    x = torch.randn(30, 14, 9, generator=gen).bfloat16().requires_grad_()
    w = (1 + 0.01 * torch.randn(9, generator=gen)).bfloat16().requires_grad_()

    def reference(x, w):
        return (x * w).max(-1).values

    def candidate(x, w):
        z = x * w
        best = z[..., 0]
        for i in range(1, z.shape[-1]):
            best = torch.where(z[..., i] > best, z[..., i], best)
        return best

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
