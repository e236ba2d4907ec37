# gradients of about 1e-20 in float32
import torch


def case():
    gen = torch.Generator().manual_seed(125)
    x = torch.randn(64, 33, generator=gen).requires_grad_()
    w = torch.randn(33, 33, generator=gen).requires_grad_()

    def reference(x, w):
        return torch.tanh(x @ w) * 1e-20

    def candidate(x, w):
        return torch.cat([torch.tanh(c @ w) for c in x.split(10)]).mul(1e-10).mul(1e-10)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
