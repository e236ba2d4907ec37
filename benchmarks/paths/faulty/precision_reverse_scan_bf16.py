# cause: precision
# size: 0.015
# dtype: bfloat16
# where: input 0 (x)
# source: textbook (linear recurrence / cumulative sum with the carried state in bf16)
# why: the reverse scan of the backward keeps its running sum in bf16; the forward keeps it in float32
import torch


class CumsumFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, faulty):
        ctx.faulty = faulty
        up = x if x.dtype == torch.float64 else x.float()
        return up.cumsum(1).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        state_dt = torch.bfloat16 if ctx.faulty else (g.dtype if g.dtype == torch.float64 else torch.float32)
        run = torch.zeros_like(g[:, 0], dtype=state_dt)
        out = torch.empty_like(g)
        for t in range(g.shape[1] - 1, -1, -1):
            run = run + g[:, t].to(state_dt)
            out[:, t] = run.to(g.dtype)
        return out, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(57)
    x = torch.randn(3, 270, 22, generator=gen).bfloat16().requires_grad_()

    def reference(x):
        up = x if x.dtype == torch.float64 else x.float()
        return up.cumsum(1).to(x.dtype)

    def candidate(x):
        return CumsumFn.apply(x, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
