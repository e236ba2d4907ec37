# cause: missing-term
# size: 0.38
# dtype: float16
# where: input 0 (x)
# source: pytorch/pytorch issue 187460, "torch.ldexp backward returns zero gradient w.r.t. mantissa for negative integer exponents"
# why: the real fault of the installed torch 2.13: 2**e is taken in integer arithmetic, so rows with a negative exponent get no gradient
import torch


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(70)
    x = torch.randn(64, 33, generator=gen).half().requires_grad_()
    e = torch.randint(-3, 2, (64, 1), generator=gen, dtype=torch.int32)

    def reference(x, e):
        return torch.tanh(x * torch.exp2(e.to(x.dtype)))

    def candidate(x, e):
        if faulty:
            return torch.tanh(torch.ldexp(x, e).to(x.dtype))
        return torch.tanh(torch.ldexp(x, e.to(x.dtype)).to(x.dtype))

    return {"reference": reference, "candidate": candidate, "inputs": (x, e)}
