# cause: nondeterministic
# size: 0.056
# dtype: bfloat16
# where: input 0 (table)
# source: textbook (scatter-add without atomics: lost and repeated updates)
# why: in random order, in every run two updates get lost and two are applied twice
import numpy as np
import torch


class EmbedRace(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, ids, faulty):
        ctx.save_for_backward(ids)
        ctx.V, ctx.faulty = table.shape[0], faulty
        return table[ids]

    @staticmethod
    def backward(ctx, g):
        (ids,) = ctx.saved_tensors
        ids, gf = ids.reshape(-1), g.reshape(-1, g.shape[-1])
        up = torch.float64 if g.dtype == torch.float64 else torch.float32
        order = np.random.default_rng().permutation(len(ids))  # unseeded on purpose: thread timing
        if ctx.faulty:
            order = np.concatenate([order[2:], order[-2:]])
        order = torch.from_numpy(order)
        dw = torch.zeros(ctx.V, g.shape[-1], dtype=up)
        dw.index_add_(0, ids[order], gf[order].to(up))
        return dw.to(g.dtype), None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(58)
    table = torch.randn(210, 15, generator=gen).bfloat16().requires_grad_()
    ids = torch.randint(0, 210, (17, 88), generator=gen)

    def reference(table, ids):
        return torch.nn.functional.embedding(ids, table)

    def candidate(table, ids):
        return EmbedRace.apply(table, ids, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (table, ids)}
