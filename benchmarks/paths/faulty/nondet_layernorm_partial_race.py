# cause: nondeterministic
# size: 0.015
# dtype: float32
# where: input 0 (x)
# source: Dao-AILab/flash-attention PR 2481 (row sums read before they are complete), transferred to layer norm
# why: of the partial row sums in the layer norm's backward one random tile is counted twice and another one not at all
import numpy as np
import torch


class LNRace(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, tiles, faulty):
        mean = x.mean(-1, keepdim=True)
        rstd = ((x - mean).square().mean(-1, keepdim=True) + 1e-5).rsqrt()
        ctx.save_for_backward((x - mean) * rstd, rstd, w)
        ctx.tiles, ctx.faulty = tiles, faulty
        return (x - mean) * rstd * w + b

    @staticmethod
    def backward(ctx, dy):
        xh, rstd, w = ctx.saved_tensors
        g = dy * w
        p1 = torch.stack([t.sum(-1) for t in g.chunk(ctx.tiles, -1)], -1)
        p2 = torch.stack([t.sum(-1) for t in (g * xh).chunk(ctx.tiles, -1)], -1)
        order = np.random.default_rng().permutation(p1.shape[-1])  # unseeded on purpose: thread timing
        if ctx.faulty:
            order[0] = order[1]
        order = torch.from_numpy(order)
        n = g.shape[-1]
        c1 = p1[:, order].sum(-1, keepdim=True) / n
        c2 = p2[:, order].sum(-1, keepdim=True) / n
        dx = rstd * (g - c1 - xh * c2)
        return dx, (dy * xh).sum(0), dy.sum(0), None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(59)
    x = (torch.randn(13, 1750, generator=gen) * 2 - 1).requires_grad_()
    w = (1 + 0.2 * torch.randn(1750, generator=gen)).requires_grad_()
    b = torch.randn(1750, generator=gen).requires_grad_()

    def reference(x, w, b):
        c = x - x.mean(-1, keepdim=True)
        return c / ((c * c).mean(-1, keepdim=True) + 1e-5).sqrt() * w + b

    def candidate(x, w, b):
        return LNRace.apply(x, w, b, 14, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, b)}
