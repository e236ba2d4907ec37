# cause: new-dropout
# size: 0.0095
# dtype: bfloat16
# where: input 0 (x)
# source: flash-attention dropout (philox offset per block must be the same in forward and backward), textbook slip
# why: the backward seeds the dropout of the last block of query rows with another block number; the branch is layer-scaled
import torch

P = 0.1
BLOCK = 16


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


def _keep(rows, cols, block, seed=1234):
    g = torch.Generator().manual_seed(seed + 7919 * block)
    return (torch.rand(rows, cols, generator=g) >= P).double() / (1 - P)


def _mask(t, last_shift=0):
    n = -(-t // BLOCK)
    parts = [_keep(min(BLOCK, t - i * BLOCK), t, i + (last_shift if i == n - 1 else 0)) for i in range(n)]
    return torch.cat(parts)


class DropAttn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, faulty):
        xf = _acc(x)
        p = (xf @ xf.transpose(-1, -2) / x.shape[-1]).softmax(-1)
        ctx.save_for_backward(x, p)
        ctx.faulty = faulty
        return (p * _mask(x.shape[-2]).to(p.dtype) @ xf).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        x, p = ctx.saved_tensors
        xf, gf = _acc(x), _acc(g)
        m = _mask(x.shape[-2], 1 if ctx.faulty else 0).to(p.dtype)
        dv = (p * m).transpose(-1, -2) @ gf
        dp = (gf @ xf.transpose(-1, -2)) * m
        ds = p * (dp - (dp * p).sum(-1, keepdim=True)) / x.shape[-1]
        return (dv + ds @ xf + ds.transpose(-1, -2) @ xf).to(x.dtype), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(28)
    x = torch.randn(3, 58, 36, generator=gen).bfloat16().requires_grad_()

    def reference(x):
        p = (x @ x.transpose(-1, -2) / x.shape[-1]).softmax(-1)
        return x + 0.4 * (p * _mask(x.shape[-2]).to(p.dtype) @ x)

    def candidate(x):
        return x + 0.4 * DropAttn.apply(x, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
