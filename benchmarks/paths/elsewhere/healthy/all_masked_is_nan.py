# requires: one open key a row at least; a row of the additive mask that is all -inf gives nan in both ways
# dtype: float32
# source: own program, after pytorch/pytorch issue 41508 (nan is softmax's answer there)
# why: the same nan in the same rows of output and gradients is agreement, not a fault
import torch


class MaskedSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, s, v, mask):
        z = s + mask
        e = torch.exp(z - z.amax(-1, keepdim=True))
        p = e / e.sum(-1, keepdim=True)
        ctx.save_for_backward(p, v)
        return p @ v

    @staticmethod
    def backward(ctx, g):
        p, v = ctx.saved_tensors
        dp = g @ v.transpose(-1, -2)
        return p * (dp - (p * dp).sum(-1, keepdim=True)), p.transpose(-1, -2) @ g, None


def case() -> dict:
    gen = torch.Generator().manual_seed(205)
    s = torch.randn(3, 10, 14, generator=gen).requires_grad_()
    v = torch.randn(3, 14, 6, generator=gen).requires_grad_()
    mask = torch.zeros(3, 10, 14).masked_fill_(torch.rand(3, 10, 14, generator=gen) < 0.4, float("-inf"))
    mask[..., 0] = 0

    def reference(s, v, mask):
        return torch.softmax(s + mask, -1) @ v

    def candidate(s, v, mask):
        if s.shape[-1] == 0:
            raise ValueError("one key at least")
        return MaskedSoftmax.apply(s, v, mask)

    return {"reference": reference, "candidate": candidate, "inputs": (s, v, mask)}
