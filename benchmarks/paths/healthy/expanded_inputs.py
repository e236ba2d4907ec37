# inputs with stride 0 (expanded, one of them differentiated) and a transposed one
import torch


def case():
    gen = torch.Generator().manual_seed(143)
    x = torch.randn(19, 32, generator=gen).t().requires_grad_()
    pos = torch.randn(1, 19, generator=gen).expand(32, 19).requires_grad_()
    scale = torch.rand(32, 1, generator=gen).expand(32, 19)

    def reference(x, pos, scale):
        return torch.sin(x + pos) * scale

    def candidate(x, pos, scale):
        return torch.stack([torch.sin(a + b) * c for a, b, c in zip(x.unbind(1), pos.unbind(1), scale.unbind(1))], 1)

    return {"reference": reference, "candidate": candidate, "inputs": (x, pos, scale)}
