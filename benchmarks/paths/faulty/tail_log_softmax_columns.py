# cause: tail
# size: 0.052
# dtype: float16
# where: input 0 (logits)
# source: textbook (column blocks of a fused log-softmax over the vocabulary)
# why: the backward's loop over blocks of 100 columns stops before the last, incomplete block: its gradient stays zero
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class BlockLogSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, block, faulty):
        xf = _acc(x)
        m = torch.full_like(xf[:, :1], float("-inf"))
        s = torch.zeros_like(m)
        for c in xf.split(block, 1):
            new = torch.maximum(m, c.max(1, keepdim=True).values)
            s = s * (m - new).exp() + (c - new).exp().sum(1, keepdim=True)
            m = new
        lse = m + s.log()
        ctx.save_for_backward(x, lse)
        ctx.block, ctx.faulty = block, faulty
        return (xf - lse).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        x, lse = ctx.saved_tensors
        gf, xf = _acc(g), _acc(x)
        gsum = gf.sum(1, keepdim=True)
        dx = torch.zeros_like(x)
        v, bl = x.shape[1], ctx.block
        stop = v // bl * bl if ctx.faulty else v
        for lo in range(0, stop, bl):
            sl = slice(lo, min(lo + bl, v))
            dx[:, sl] = (gf[:, sl] - (xf[:, sl] - lse).exp() * gsum).to(x.dtype)
        return dx, None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(20)
    x = (torch.randn(21, 1003, generator=gen) * 2).half().requires_grad_()

    def reference(x):
        return x.log_softmax(-1)

    def candidate(x):
        return BlockLogSoftmax.apply(x, 100, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
