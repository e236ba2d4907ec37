# cause: scale
# breaks: all equal values
# dtype: float32
# where: input 0 (x), rows whose largest value stands more than once
# source: PaddlePaddle/Paddle pull 71970 and microsoft/onnxruntime pull 7217, simplified
# why: every entry that equals the largest one gets the whole gradient; they must share it evenly
import torch


class AMax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, faulty):
        top = x.amax(-1)
        ctx.save_for_backward(x, top)
        ctx.faulty = faulty
        return top

    @staticmethod
    def backward(ctx, g):
        x, top = ctx.saved_tensors
        hit = (x == top[..., None]).to(x.dtype)
        if not ctx.faulty:
            hit = hit / hit.sum(-1, keepdim=True)
        return hit * g[..., None], None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(116)
    x = torch.randn(18, 30, generator=gen).requires_grad_()

    def reference(x):
        return torch.amax(x, -1)

    def candidate(x):
        return AMax.apply(x, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
