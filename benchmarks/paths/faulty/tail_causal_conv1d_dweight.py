# cause: tail
# size: 0.44
# dtype: float32
# where: input 2 (b), then input 1 (w)
# source: fla-org/flash-linear-attention, causal_conv1d backward dweight over time blocks (issues 1140, 955), simplified
# why: dweight and dbias are summed over full blocks of 32 time steps only
import torch


class CausalConv1d(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, faulty):
        ctx.save_for_backward(x, w)
        ctx.faulty = faulty
        k, t = w.shape[1], x.shape[2]
        xp = torch.nn.functional.pad(x, (k - 1, 0))
        y = b[None, :, None] + sum(xp[:, :, i:i + t] * w[None, :, i:i + 1] for i in range(k))
        return y

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        k, t = w.shape[1], x.shape[2]
        gp = torch.nn.functional.pad(g, (0, k - 1))
        dx = sum(gp[:, :, k - 1 - i:k - 1 - i + t] * w[None, :, i:i + 1] for i in range(k))
        xp = torch.nn.functional.pad(x, (k - 1, 0))
        block = 32
        n = t // block if ctx.faulty else -(-t // block)
        dw, db = torch.zeros_like(w), torch.zeros_like(w[:, 0])
        for j in range(n):
            lo, hi = j * block, min(t, (j + 1) * block)
            for i in range(k):
                dw[:, i] += (g[:, :, lo:hi] * xp[:, :, lo + i:hi + i]).sum((0, 2))
            db += g[:, :, lo:hi].sum((0, 2))
        return dx, dw, db, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(22)
    x = torch.randn(3, 18, 77, generator=gen).requires_grad_()
    w = (torch.randn(18, 4, generator=gen) * 0.5).requires_grad_()
    b = torch.randn(18, generator=gen).requires_grad_()

    def reference(x, w, b):
        return torch.nn.functional.conv1d(torch.nn.functional.pad(x, (3, 0)), w[:, None, :], b, groups=x.shape[1])

    def candidate(x, w, b):
        return CausalConv1d.apply(x, w, b, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, b)}
