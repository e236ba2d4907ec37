# cause: missing-term
# breaks: zero size
# dtype: float32
# where: inputs 1 (w) and 2 (b), where x has no rows; their gradients must be 0
# source: pytorch/pytorch pull 28614 and pull 192179 (norms with an empty batch), simplified
# why: the first block of rows sets the sums and the others add to it; with no block the buffer is never set
import torch


class Affine(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, faulty):
        h = torch.tanh(x)
        ctx.save_for_backward(h, w)
        ctx.faulty = faulty
        return h * w + b

    @staticmethod
    def backward(ctx, g):
        h, w = ctx.saved_tensors
        # torch.empty would hold whatever was there; 7 stands for that, so that every run sees the same
        held = 7.0 if ctx.faulty else 0.0
        dw, db = torch.full_like(w, held), torch.full_like(w, held)
        for i, lo in enumerate(range(0, h.shape[0], 16)):
            hi = lo + 16
            if i == 0:
                dw, db = (g[lo:hi] * h[lo:hi]).sum(0), g[lo:hi].sum(0)
            else:
                dw, db = dw + (g[lo:hi] * h[lo:hi]).sum(0), db + g[lo:hi].sum(0)
        return g * w * (1 - h * h), dw, db, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(111)
    x = torch.randn(48, 20, generator=gen).requires_grad_()
    w = torch.randn(20, generator=gen).requires_grad_()
    b = torch.randn(20, generator=gen).requires_grad_()

    def reference(x, w, b):
        return torch.tanh(x) * w + b

    def candidate(x, w, b):
        return Affine.apply(x, w, b, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, b)}
