# cause: forward
# size: 0.047
# dtype: float16
# where: output (and so input 0 (x))
# source: textbook (eps added to the root instead of under it)
# why: the fast version divides by rms + eps, the model definition by sqrt(mean square + eps); the gradient fits its own output
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(67)
    x = (torch.randn(88, 60, generator=gen) * 0.1).half().requires_grad_()
    w = (1 + 0.2 * torch.randn(60, generator=gen)).half().requires_grad_()
    EPS = 1e-3

    def reference(x, w):
        return x / ((x * x).mean(-1, keepdim=True) + EPS).sqrt() * w

    def fast(x, w):
        xf = _acc(x)
        ms = torch.linalg.vector_norm(xf, dim=-1, keepdim=True).square() / x.shape[-1]
        den = ms.sqrt() + EPS if faulty else (ms + EPS).sqrt()
        return (xf / den * _acc(w)).to(x.dtype)

    candidate = torch.compile(fast, backend="aot_eager", dynamic=False)
    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
