# layer norm of nearly constant rows: the deviations are some 1e-5 of the mean, the variance is below eps in some rows
import torch


def case():
    gen = torch.Generator().manual_seed(121)
    dev = 10 ** torch.linspace(-4, -1, 40)[:, None]
    x = (3 + dev * torch.randn(40, 50, generator=gen)).requires_grad_()
    w = (1 + 0.1 * torch.randn(50, generator=gen)).requires_grad_()
    b = torch.randn(50, generator=gen).requires_grad_()

    def reference(x, w, b):
        c = x - x.mean(-1, keepdim=True)
        return c / ((c * c).mean(-1, keepdim=True) + 1e-6).sqrt() * w + b

    def candidate(x, w, b):
        return torch.nn.functional.layer_norm(x, (50,), w, b, 1e-6)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, b)}
