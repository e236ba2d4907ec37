# cause: missing-term
# breaks: repeated indices
# dtype: float32
# where: input 0 (table), the rows that the index names more than once
# source: pytorch/pytorch issue 1631 and issue 1528, simplified
# why: the gradient is written to the named rows, not added: of a row named twice only the last share stays
import torch


class Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx, table, index, faulty):
        ctx.save_for_backward(index)
        ctx.faulty, ctx.shape = faulty, table.shape
        return table[index]

    @staticmethod
    def backward(ctx, g):
        index, = ctx.saved_tensors
        d = g.new_zeros(ctx.shape)
        if ctx.faulty:
            d[index] = g
        else:
            d.index_add_(0, index, g)
        return d, None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(115)
    table = torch.randn(40, 12, generator=gen).requires_grad_()
    index = torch.randperm(40, generator=gen)[:25]

    def reference(table, index):
        return table.index_select(0, index)

    def candidate(table, index):
        return Lookup.apply(table, index, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (table, index)}
