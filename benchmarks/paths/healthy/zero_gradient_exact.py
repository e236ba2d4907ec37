# dead units: a whole tensor gets the gradient exactly zero, another one a normal gradient
import torch


def case():
    gen = torch.Generator().manual_seed(124)
    x = (torch.rand(50, 20, generator=gen) + 0.1).bfloat16().requires_grad_()
    w = (-torch.rand(12, 20, generator=gen) - 0.1).bfloat16().requires_grad_()
    v = torch.randn(20, generator=gen).bfloat16().requires_grad_()

    def reference(x, w, v):
        return torch.relu(x @ w.t()), x * v

    def candidate(x, w, v):
        z = x @ w.t()
        return z * (z > 0).to(z.dtype), torch.mul(v, x)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, v)}
