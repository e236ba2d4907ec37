# cause: nondeterministic
# size: 0.11
# dtype: float16
# where: input 0 (q)
# source: Dao-AILab/flash-attention issue 359, "[flashv2/BW] Potential race condition?"
# why: dq is summed over key blocks in random order, and each run one tile's update is lost and one is added twice
import numpy as np
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class AttnRace(torch.autograd.Function):
    BLOCK = 16

    @staticmethod
    def forward(ctx, q, k, v, faulty):
        s = _acc(q) @ _acc(k).transpose(-1, -2) * q.shape[-1] ** -0.5
        lse = s.logsumexp(-1, keepdim=True)
        o = (s - lse).exp() @ _acc(v)
        ctx.save_for_backward(q, k, v, o, lse)
        ctx.faulty = faulty
        return o.to(q.dtype)

    @staticmethod
    def backward(ctx, do):
        q, k, v, o, lse = ctx.saved_tensors
        dt, sc, bl = q.dtype, q.shape[-1] ** -0.5, AttnRace.BLOCK
        q, k, v, do = map(_acc, (q, k, v, do))
        p = (q @ k.transpose(-1, -2) * sc - lse).exp()
        ds = p * (do @ v.transpose(-1, -2) - (do * o).sum(-1, keepdim=True)) * sc
        rng = np.random.default_rng()  # unseeded on purpose: thread timing
        jobs = [(h, i, j) for h in range(q.shape[0]) for i in range(0, q.shape[1], bl) for j in range(0, k.shape[1], bl)]
        jobs = [jobs[n] for n in rng.permutation(len(jobs))]
        if ctx.faulty:
            jobs[0] = jobs[1]
        dq = torch.zeros_like(q)
        for h, i, j in jobs:
            dq[h, i:i + bl] += ds[h, i:i + bl, j:j + bl] @ k[h, j:j + bl]
        return dq.to(dt), (ds.transpose(-1, -2) @ q).to(dt), (p.transpose(-1, -2) @ do).to(dt), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(60)
    q, k, v = (torch.randn(5, 90, 28, generator=gen).half().requires_grad_() for _ in range(3))

    def reference(q, k, v):
        return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v

    def candidate(q, k, v):
        return AttnRace.apply(q, k, v, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v)}
