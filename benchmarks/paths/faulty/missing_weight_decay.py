# cause: missing-term
# size: 0.008
# dtype: bfloat16
# where: input 1 (weight)
# source: textbook (coupled L2 penalty in a fused ridge regression head)
# why: the fused backward forgets the derivative of the L2 penalty
import torch

WD = 0.01


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class RidgeLoss(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, y, faulty):
        r = _acc(x) @ _acc(w).t() - _acc(y)
        loss = 0.5 * (r * r).mean(0) + 0.5 * WD * (_acc(w) ** 2).sum(1)
        ctx.save_for_backward(x, w, r)
        ctx.faulty = faulty
        return loss.to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        x, w, r = ctx.saved_tensors
        gr = _acc(g) * r / r.shape[0]
        dw = gr.t() @ _acc(x)
        if not ctx.faulty:
            dw = dw + WD * _acc(w) * _acc(g)[:, None]
        return (gr @ _acc(w)).to(x.dtype), dw.to(w.dtype), None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(6)
    x = torch.randn(120, 40, generator=gen).bfloat16().requires_grad_()
    w = (torch.randn(35, 40, generator=gen) * 0.3).bfloat16().requires_grad_()
    y = torch.randn(120, 35, generator=gen).bfloat16()

    def reference(x, w, y):
        r = x @ w.t() - y
        return 0.5 * (r * r).mean(0) + 0.5 * WD * (w * w).sum(1)

    def candidate(x, w, y):
        return RidgeLoss.apply(x, w, y, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, y)}
