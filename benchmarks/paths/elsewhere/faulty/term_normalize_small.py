# cause: missing-term
# breaks: very small values
# dtype: float32
# where: input 0 (x), rows whose length is below 1e-4, zeros too (inf)
# source: pytorch/pytorch pull 9448 and issue 184575, simplified
# why: the backward forgets the forward's lower bound on the length and divides by the length itself
import torch

EPS = 1e-4


class Normalize(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, faulty):
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        y = x / norm.clamp(min=EPS)
        ctx.save_for_backward(y, norm)
        ctx.faulty = faulty
        return y

    @staticmethod
    def backward(ctx, g):
        y, norm = ctx.saved_tensors
        if ctx.faulty:
            return (g - y * (y * g).sum(-1, keepdim=True)) / norm, None
        bound = norm.clamp(min=EPS)
        return torch.where(norm < EPS, g, g - y * (y * g).sum(-1, keepdim=True)) / bound, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(113)
    x = torch.randn(26, 18, generator=gen).requires_grad_()

    def reference(x):
        return torch.nn.functional.normalize(x, dim=-1, eps=EPS)

    def candidate(x):
        return Normalize.apply(x, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
