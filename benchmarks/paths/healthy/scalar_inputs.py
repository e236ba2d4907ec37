# 0-dimensional inputs (temperature, learned gate) in bf16 and a 0-dimensional output beside a matrix
import torch


class TempSoftmax(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, t):
        up = x.dtype if x.dtype == torch.float64 else torch.float32
        p = (x.to(up) / t.to(up)).softmax(-1)
        ctx.save_for_backward(x, t, p)
        return p.to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        x, t, p = ctx.saved_tensors
        ds = p * (g.to(p.dtype) - (g.to(p.dtype) * p).sum(-1, keepdim=True))
        tf = t.to(p.dtype)
        return (ds / tf).to(x.dtype), (-(ds * x.to(p.dtype)).sum() / (tf * tf)).to(t.dtype)


def case():
    gen = torch.Generator().manual_seed(138)
    x = torch.randn(50, 23, generator=gen).bfloat16().requires_grad_()
    t = torch.tensor(0.7).bfloat16().requires_grad_()
    gate = torch.tensor(-0.3).bfloat16().requires_grad_()

    def reference(x, t, gate):
        p = (x / t).softmax(-1)
        return p * torch.sigmoid(gate), gate * t

    def candidate(x, t, gate):
        return TempSoftmax.apply(x, t) * (1 / (1 + torch.exp(-gate))), t * gate

    return {"reference": reference, "candidate": candidate, "inputs": (x, t, gate)}
