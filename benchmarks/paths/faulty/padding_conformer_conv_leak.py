# cause: padding
# size: 0.24
# dtype: float32
# where: pw1.weight
# source: Conformer convolution module (NeMo / transformers wav2vec2-conformer) with padded frames
# why: frames are masked before the depthwise convolution, its hand-written backward does not mask dx again
import torch, torch.nn as nn, torch.nn.functional as F


class MaskedDepthwise(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, mask, faulty):
        xm = x * mask
        ctx.save_for_backward(xm, w, mask)
        ctx.faulty = faulty
        return F.conv1d(xm, w, padding=w.shape[-1] // 2, groups=x.shape[1])

    @staticmethod
    def backward(ctx, dy):
        xm, w, mask = ctx.saved_tensors
        pad, c = w.shape[-1] // 2, xm.shape[1]
        dx = torch.nn.grad.conv1d_input(xm.shape, w, dy, padding=pad, groups=c)
        dw = torch.nn.grad.conv1d_weight(xm, w.shape, dy, padding=pad, groups=c)
        return dx if ctx.faulty else dx * mask, dw, None, None


class ConvModule(nn.Module):
    def __init__(self):
        super().__init__()
        self.ln = nn.LayerNorm(14)
        self.pw1 = nn.Conv1d(14, 28, 1)
        self.dw = nn.Parameter(torch.randn(14, 1, 7) * 0.3)
        self.pw2 = nn.Conv1d(14, 14, 1)

    def depthwise(self, h, mask):
        return F.conv1d(h * mask, self.dw, padding=3, groups=14)

    def forward(self, x, lengths):
        mask = (torch.arange(x.shape[1]) < lengths[:, None])[:, None].to(x.dtype)
        h = F.glu(self.pw1(self.ln(x).transpose(1, 2)), 1)
        h = self.pw2(F.silu(self.depthwise(h, mask))) * mask
        return (x * mask.transpose(1, 2)) + h.transpose(1, 2)


class FusedConvModule(ConvModule):
    faulty = False

    def depthwise(self, h, mask):
        return MaskedDepthwise.apply(h, self.dw, mask, self.faulty)


def case(faulty):
    torch.manual_seed(33)
    ref, can = ConvModule(), FusedConvModule()
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    return {"reference": ref, "candidate": can,
            "inputs": (torch.randn(5, 21, 14).requires_grad_(), torch.tensor([21, 6, 12, 9, 4]))}
