# cause: precision
# breaks: large values
# dtype: bfloat16
# where: input 0 (x), rows with an entry above 88 (nan), or all below -104 (0 / 0)
# source: jeshraghian/snntorch issue 427 and tenstorrent/tt-metal pull 56397 (exp overflows in the backward), simplified
# why: the backward takes exp(x) / sum(exp(x)) without taking the row's largest entry off first
import torch


class LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, faulty):
        xa = x.to(torch.promote_types(x.dtype, torch.float32))
        lse = torch.logsumexp(xa, -1, keepdim=True)
        ctx.save_for_backward(x, lse)
        ctx.faulty = faulty
        return lse[..., 0].to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        x, lse = ctx.saved_tensors
        xa, ga = x.to(lse.dtype), g.to(lse.dtype)[..., None]
        if ctx.faulty:
            e = torch.exp(xa)
            p = e / e.sum(-1, keepdim=True)
        else:
            p = torch.exp(xa - lse)
        return (ga * p).to(x.dtype), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(112)
    x = (torch.randn(16, 40, generator=gen) * 3).bfloat16().requires_grad_()

    def reference(x):
        return torch.logsumexp(x, -1)

    def candidate(x):
        return LogSumExp.apply(x, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
