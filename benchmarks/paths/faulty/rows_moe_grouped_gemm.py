# cause: wrong-rows
# size: 0.053
# dtype: bfloat16
# where: input 0 (x)
# source: textbook (grouped GEMM of mixture of experts, searchsorted side)
# why: the backward looks up a row's expert with the wrong side of searchsorted, so the first row of each expert uses the previous expert's weight
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class GroupedLinear(torch.autograd.Function):
    """rows of x are sorted by expert; ends[e] is one past the last row of expert e"""

    @staticmethod
    def forward(ctx, x, w, ends, faulty):
        ctx.save_for_backward(x, w, ends)
        ctx.faulty = faulty
        out, lo = [], 0
        for e, hi in enumerate(ends.tolist()):
            out.append(_acc(x[lo:hi]) @ _acc(w[e]).t())
            lo = hi
        return torch.cat(out).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        x, w, ends = ctx.saved_tensors
        expert = torch.searchsorted(ends, torch.arange(x.shape[0]), right=not ctx.faulty)
        wf, gf, xf = _acc(w), _acc(g), _acc(x)
        dx, dw = torch.zeros_like(xf), torch.zeros_like(wf)
        for e in range(w.shape[0]):
            rows = (expert == e).nonzero()[:, 0]
            dx[rows] = gf[rows] @ wf[e]
            dw[e] = gf[rows].t() @ xf[rows]
        return dx.to(x.dtype), dw.to(w.dtype), None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(14)
    E, N, D, O = 5, 2400, 10, 7
    x = torch.randn(N, D, generator=gen).bfloat16().requires_grad_()
    w = (torch.randn(E, O, D, generator=gen) / D ** 0.5).bfloat16().requires_grad_()
    ends = torch.tensor([431, 1010, 1377, 1999, 2400])

    def reference(x, w, ends):
        starts = torch.cat([ends.new_zeros(1), ends[:-1]])
        idx = torch.repeat_interleave(torch.arange(E), ends - starts)
        return torch.cat([x[idx == e] @ w[e].t() for e in range(E)])

    def candidate(x, w, ends):
        return GroupedLinear.apply(x, w, ends, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, ends)}
