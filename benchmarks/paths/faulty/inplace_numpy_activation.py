# cause: in-place
# size: 0.013
# dtype: float32
# where: input 2 (w2)
# source: textbook (activation statistics logger that works on the numpy view)
# why: after the second linear has saved its input, a logger rounds that memory to 8-bit levels through numpy
import numpy as np
import torch


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(65)
    x = torch.randn(140, 32, generator=gen).requires_grad_()
    w1 = (torch.randn(48, 32, generator=gen) / 32 ** 0.5).requires_grad_()
    w2 = (torch.randn(20, 48, generator=gen) / 48 ** 0.5).requires_grad_()

    def log_histogram(a):
        if not faulty:
            a = a.copy()
        step = float(np.abs(a).max()) / 127
        np.round(a / step, out=a)
        a *= step
        return np.bincount(np.abs(a / step).astype(np.int64).ravel(), minlength=128)

    def reference(x, w1, w2):
        return torch.nn.functional.gelu(x @ w1.t()) @ w2.t()

    def candidate(x, w1, w2):
        h = torch.nn.functional.gelu(x @ w1.t())
        y = h @ w2.t()
        log_histogram(h.detach().numpy())
        return y

    return {"reference": reference, "candidate": candidate, "inputs": (x, w1, w2)}
