# one input has no rows at all, its gradient is empty
import torch


def case():
    gen = torch.Generator().manual_seed(137)
    a = torch.randn(0, 14, generator=gen).requires_grad_()
    b = torch.randn(37, 14, generator=gen).requires_grad_()
    w = torch.randn(14, 8, generator=gen).requires_grad_()

    def reference(a, b, w):
        return torch.cat([a, b]) @ w, a @ w

    def candidate(a, b, w):
        return torch.cat([a @ w, b @ w]), torch.nn.functional.linear(a, w.t())

    return {"reference": reference, "candidate": candidate, "inputs": (a, b, w)}
