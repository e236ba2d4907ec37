# cause: missing-term
# breaks: one column
# dtype: bfloat16
# where: input 0 (scores), where there is one column; its gradient must be 0
# source: pjreddie/darknet pull 96 (softmax backward copies the gradient through), as a special case, own program
# why: a short cut for one expert hands the gradient through; the softmax's own term is missing there
import torch


class Route(torch.autograd.Function):
    @staticmethod
    def forward(ctx, scores, values, faulty):
        acc = torch.promote_types(scores.dtype, torch.float32)
        p = torch.softmax(scores.to(acc), -1)
        ctx.save_for_backward(p, values)
        ctx.faulty = faulty
        return (p * values).sum(-1).to(scores.dtype)

    @staticmethod
    def backward(ctx, g):
        p, values = ctx.saved_tensors
        ga = g.to(p.dtype)[..., None]
        dp = ga * values
        if ctx.faulty and p.shape[-1] == 1:
            ds = dp
        else:
            ds = p * (dp - (p * dp).sum(-1, keepdim=True))
        return ds.to(values.dtype), (ga * p).to(values.dtype), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(109)
    scores = torch.randn(30, 8, generator=gen).bfloat16().requires_grad_()
    values = torch.randn(30, 8, generator=gen).bfloat16().requires_grad_()

    def reference(scores, values):
        p = torch.softmax(scores.to(torch.promote_types(scores.dtype, torch.float32)), -1)
        return (p * values).sum(-1).to(scores.dtype)

    def candidate(scores, values):
        if scores.shape != values.shape:
            raise ValueError("scores and values must have one shape")
        return Route.apply(scores, values, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (scores, values)}
