# cause: padding
# size: 0.042
# dtype: float32
# where: 0
# source: causal_conv1d / Mamba packed sequences: seq_idx respected in forward only
# why: dx takes gradient across the boundary of two packed documents
import torch, torch.nn as nn, torch.nn.functional as F

K = 4


def conv(x, w, seg):
    y = x * w[-1]
    for j in range(1, K):
        same = (seg[j:] == seg[:-j])[:, None].to(x.dtype)
        y = y + F.pad(x[:-j] * same * w[-1 - j], (0, 0, j, 0))
    return y


class PackedConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, seg, faulty):
        ctx.save_for_backward(x, w, seg)
        ctx.faulty = faulty
        return conv(x, w, seg)

    @staticmethod
    def backward(ctx, dy):
        x, w, seg = ctx.saved_tensors
        dx, dw = dy * w[-1], torch.zeros_like(w)
        dw[-1] = (dy * x).sum(0)
        for j in range(1, K):
            same = (seg[j:] == seg[:-j])[:, None].to(x.dtype)
            dw[-1 - j] = (dy[j:] * x[:-j] * same).sum(0)
            dx[:-j] += dy[j:] * w[-1 - j] * (1 if ctx.faulty else same)
        return dx, dw, None, None


def case(faulty):
    torch.manual_seed(34)
    seg = torch.repeat_interleave(torch.arange(4), torch.tensor([41, 63, 17, 80]))
    x = torch.randn(201, 22).requires_grad_()
    w = torch.cat([torch.randn(K - 1, 22) * 0.15, torch.rand(1, 22) + 0.5]).requires_grad_()
    gate = torch.randn(201, 22).requires_grad_()

    def reference(x, w, gate):
        return F.silu(conv(x, w, seg)) * torch.sigmoid(gate)

    def candidate(x, w, gate):
        return F.silu(PackedConv.apply(x, w, seg, faulty)) * torch.sigmoid(gate)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, gate)}
