# cause: forward
# size: 0.27
# dtype: float32
# where: output (and so input 0 (x))
# source: textbook (online log-sum-exp over blocks of the vocabulary)
# why: the online log-sum-exp processes full blocks of 92 columns only; the last 40 of 500 never enter (the output is off by 1.2 %, the gradient by more)
import torch


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(69)
    x = torch.randn(44, 500, generator=gen).requires_grad_()

    def reference(x):
        return x.logsumexp(-1)

    def candidate(x):
        bl, v = 92, x.shape[1]
        n = v // bl if faulty else -(-v // bl)
        m = torch.full_like(x[:, 0], float("-inf"))
        s = torch.zeros_like(m)
        for i in range(n):
            c = x[:, i * bl:(i + 1) * bl]
            new = torch.maximum(m, c.detach().max(-1).values)
            s = s * (m - new).exp() + (c - new[:, None]).exp().sum(-1)
            m = new
        return m + s.log()

    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
