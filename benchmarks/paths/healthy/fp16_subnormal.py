# gradients of about 1e-6 are subnormal in float16: few digits, and the order of two factors matters
import torch


def case():
    gen = torch.Generator().manual_seed(103)
    x = torch.randn(60, 31, generator=gen).half().requires_grad_()
    a = (torch.rand(31, generator=gen) * 2 ** -9 + 2 ** -10).half()
    b = (torch.rand(31, generator=gen) * 2 ** -9 + 2 ** -10).half()

    def reference(x, a, b):
        return (x * a) * b

    def candidate(x, a, b):
        up = x.dtype if x.dtype == torch.float64 else torch.float32
        return (x.to(up) * (a.to(up) * b.to(up))).to(x.dtype)

    return {"reference": reference, "candidate": candidate, "inputs": (x, a, b)}
