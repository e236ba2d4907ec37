# cause: scale
# size: 0.017
# dtype: float32
# where: input 0 (x)
# source: textbook (masked mean pooling of sentence embeddings: division by padded length)
# why: custom operator's backward divides by the padded length instead of the number of valid tokens
import torch


@torch.library.custom_op("pathsprog::mean_pool_padlen", mutates_args=())
def mean_pool(x: torch.Tensor, lengths: torch.Tensor, faulty: bool) -> torch.Tensor:
    mask = (torch.arange(x.shape[1])[None] < lengths[:, None]).to(x.dtype)
    return (x * mask[..., None]).sum(1) / lengths[:, None].to(x.dtype)


def _setup(ctx, inputs, output):
    x, lengths, faulty = inputs
    ctx.save_for_backward(lengths)
    ctx.T, ctx.faulty = x.shape[1], faulty


def _backward(ctx, g):
    (lengths,) = ctx.saved_tensors
    mask = (torch.arange(ctx.T)[None] < lengths[:, None]).to(g.dtype)
    n = torch.full_like(lengths, ctx.T) if ctx.faulty else lengths
    return (g / n[:, None].to(g.dtype))[:, None, :] * mask[..., None], None, None


mean_pool.register_autograd(_backward, setup_context=_setup)


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(4)
    B, T, D = 9, 90, 22
    x = torch.randn(B, T, D, generator=gen).requires_grad_()
    lengths = torch.tensor([90, 88, 89, 90, 87, 89, 90, 88, 89])

    def reference(x, lengths):
        rows = [x[i, : int(n)].mean(0) for i, n in enumerate(lengths)]
        return torch.stack(rows)

    def candidate(x, lengths):
        return mean_pool(x, lengths, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, lengths)}
