# complex inputs: fft against a product with the DFT matrix; output complex and real
import math
import torch


def case():
    gen = torch.Generator().manual_seed(136)
    z = torch.randn(11, 45, generator=gen, dtype=torch.complex64).requires_grad_()
    f = torch.randn(45, generator=gen, dtype=torch.complex64).requires_grad_()

    def reference(z, f):
        n = z.shape[-1]
        k = torch.arange(n, dtype=torch.float64)
        ang = -2 * math.pi * ((k[:, None] * k[None]) % n) / n
        d = torch.polar(torch.ones_like(ang), ang).to(z.dtype)
        y = (z @ d) * f
        return y, (y.real ** 2 + y.imag ** 2).sum(-1)

    def candidate(z, f):
        y = torch.fft.fft(z) * f
        return y, torch.view_as_real(y).square().sum((-1, -2))

    return {"reference": reference, "candidate": candidate, "inputs": (z, f)}
