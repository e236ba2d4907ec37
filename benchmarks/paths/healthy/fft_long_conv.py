# Hyena-like long causal convolution by FFT against a Toeplitz matmul, float32, filter decaying over six decades
import torch


def case():
    torch.manual_seed(19)
    L, d = 90, 8
    u = torch.randn(3, d, L).requires_grad_()
    h = (torch.randn(d, L) * torch.exp(-torch.arange(L) * 0.15)).requires_grad_()
    gate = torch.randn(3, d, L).requires_grad_()

    def reference(u, h, gate):
        i = torch.arange(L)
        t = torch.where(i[:, None] >= i, h[:, (i[:, None] - i).clamp(min=0)], torch.zeros((), dtype=h.dtype))
        return torch.einsum("dij,bdj->bdi", t, u) * gate.sigmoid()

    def candidate(u, h, gate):
        n = 2 * L
        y = torch.fft.irfft(torch.fft.rfft(u, n=n) * torch.fft.rfft(h, n=n), n=n)[..., :L]
        return y * gate.sigmoid()

    return {"reference": reference, "candidate": candidate, "inputs": (u, h, gate)}
