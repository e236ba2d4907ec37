# cause: tail
# size: 0.013
# dtype: float32
# where: b1
# source: textbook (bias-gelu fusion, Megatron; row-blocked bias reduction)
# why: the block reduction of dbias covers rows // 16 * 16 rows, the last row of 71 * 71 patches is left out
import torch, torch.nn as nn, torch.nn.functional as F


class BiasGelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, b, faulty):
        ctx.save_for_backward(x, b)
        ctx.faulty = faulty
        return F.gelu(x + b)

    @staticmethod
    def backward(ctx, dy):
        x, b = ctx.saved_tensors
        z = x + b
        cdf = 0.5 * (1 + torch.erf(z * 0.5 ** 0.5))
        dz = dy * (cdf + z * torch.exp(-0.5 * z * z) * 0.3989422804014327)
        flat = dz.reshape(-1, dz.shape[-1])
        n = flat.shape[0] // 16 * 16 if ctx.faulty else flat.shape[0]
        db = torch.zeros_like(b)
        for r in flat[:n].split(16 * 20):
            db += r.sum(0)
        return dz, db, None


class PatchMLP(nn.Module):
    def __init__(self):
        super().__init__()
        self.w0 = nn.Parameter(torch.randn(6, 3))
        self.w1 = nn.Parameter(torch.randn(7, 6) / 6 ** 0.5)
        self.b1 = nn.Parameter(torch.randn(7) * 0.2)
        self.w2 = nn.Parameter(torch.randn(4, 7) / 7 ** 0.5)

    def act(self, x):
        return F.gelu(x + self.b1)

    def forward(self, img):
        h = F.conv2d(img, self.w0[:, :, None, None]).flatten(2).transpose(1, 2)
        return F.linear(self.act(F.linear(torch.tanh(h), self.w1)), self.w2)


class FusedPatchMLP(PatchMLP):
    faulty = False

    def act(self, x):
        return BiasGelu.apply(x, self.b1, self.faulty)


def case(faulty):
    torch.manual_seed(2)
    ref, can = PatchMLP(), FusedPatchMLP()
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    return {"reference": ref, "candidate": can, "inputs": (torch.randn(1, 3, 71, 71),)}
