# exp(x) - 1 - x for x of 3e-4 .. 1e-2: written plainly and with expm1; digits cancel in output and gradient
import torch


def case():
    gen = torch.Generator().manual_seed(122)
    x = (10 ** torch.empty(30, 40).uniform_(-3.5, -2, generator=gen)).requires_grad_()
    return {"reference": lambda x: torch.exp(x) - 1 - x, "candidate": lambda x: torch.expm1(x) - x, "inputs": (x,)}
