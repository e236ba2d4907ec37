# cause: wrong-rows
# size: 0.055
# dtype: float32
# where: input 0 (table)
# source: textbook (padding_idx=-1 as 'none' wraps around to the last row)
# why: dw[padding_idx] = 0 with the placeholder -1 zeroes the gradient of the last word of the vocabulary
import torch


@torch.library.custom_op("pathsprog::embed_rows", mutates_args=())
def embed(table: torch.Tensor, ids: torch.Tensor, padding_idx: int, faulty: bool) -> torch.Tensor:
    return table[ids]


def _setup(ctx, inputs, output):
    table, ids, ctx.padding_idx, ctx.faulty = inputs
    ctx.save_for_backward(ids)
    ctx.V = table.shape[0]


def _backward(ctx, g):
    (ids,) = ctx.saved_tensors
    dw = torch.zeros(ctx.V, g.shape[-1], dtype=g.dtype)
    dw.index_add_(0, ids.reshape(-1), g.reshape(-1, g.shape[-1]))
    if ctx.padding_idx >= 0 or ctx.faulty:
        dw[ctx.padding_idx] = 0
    return dw, None, None, None


embed.register_autograd(_backward, setup_context=_setup)


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(15)
    V, D = 449, 20
    table = torch.randn(V, D, generator=gen).requires_grad_()
    ids = torch.arange(4 * V)[torch.randperm(4 * V, generator=gen)].remainder(V).reshape(4, V)

    def reference(table, ids):
        return torch.nn.functional.embedding(ids, table)

    def candidate(table, ids):
        return embed(table, ids, -1, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (table, ids)}
