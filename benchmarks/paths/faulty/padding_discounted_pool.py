# cause: padding
# size: 0.0099
# dtype: float32
# where: input 0 (x)
# source: textbook (variable-length sequences, mask off by one at the boundary to the padding)
# why: the backward's mask ends one step early: the last valid token before the padding gets no gradient
import torch


class DiscountPool(torch.autograd.Function):
    """sum_t gamma^t x_t over the valid tokens of each sequence"""

    @staticmethod
    def forward(ctx, x, lengths, gamma, faulty):
        t = torch.arange(x.shape[1])
        wt = gamma ** t.to(x.dtype)
        m = (t[None] < lengths[:, None]).to(x.dtype)
        ctx.save_for_backward(lengths, wt)
        ctx.faulty = faulty
        return torch.einsum("btd,bt->bd", x, m * wt)

    @staticmethod
    def backward(ctx, g):
        lengths, wt = ctx.saved_tensors
        t = torch.arange(wt.shape[0])
        last = lengths - 1 if ctx.faulty else lengths
        m = (t[None] < last[:, None]).to(g.dtype)
        return (m * wt)[..., None] * g[:, None, :], None, None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(63)
    x = torch.randn(8, 60, 19, generator=gen).requires_grad_()
    lengths = torch.tensor([52, 47, 55, 49, 60, 51, 46, 58])

    def reference(x, lengths):
        out = []
        for xi, n in zip(x, lengths.tolist()):
            wt = 0.93 ** torch.arange(n).to(x.dtype)
            out.append((xi[:n] * wt[:, None]).sum(0))
        return torch.stack(out)

    def candidate(x, lengths):
        return DiscountPool.apply(x, lengths, 0.93, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, lengths)}
