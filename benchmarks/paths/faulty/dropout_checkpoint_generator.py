# cause: new-dropout
# size: 0.46
# dtype: bfloat16
# where: input 1 (w1)
# source: torch.utils.checkpoint restores the global generator only, not a generator of one's own (pytorch PR 14253 and its documentation)
# why: the mask is drawn from a private torch.Generator inside the checkpointed block, and drawn anew in the recomputation
import torch
from torch.utils.checkpoint import checkpoint


def _mask(shape, gen, p):
    return torch.rand(shape, generator=gen) >= p


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(26)
    x = torch.randn(60, 48, generator=gen).bfloat16().requires_grad_()
    w1 = (torch.randn(96, 48, generator=gen) / 48 ** 0.5).bfloat16().requires_grad_()
    w2 = (torch.randn(48, 96, generator=gen) / 96 ** 0.5).bfloat16().requires_grad_()
    P = 0.1

    def block(x, w1, w2, m):
        h = torch.nn.functional.gelu(x @ w1.t())
        h = h * m.to(h.dtype) * (1 / (1 - P))
        return x + h @ w2.t()

    def reference(x, w1, w2):
        g = torch.Generator().manual_seed(77)
        return block(x, w1, w2, _mask((60, 96), g, P))

    def candidate(x, w1, w2):
        g = torch.Generator().manual_seed(77)
        if faulty:
            return checkpoint(lambda a, b, c: block(a, b, c, _mask((60, 96), g, P)), x, w1, w2, use_reentrant=False)
        m = _mask((60, 96), g, P)
        return checkpoint(block, x, w1, w2, m, use_reentrant=False)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w1, w2)}
