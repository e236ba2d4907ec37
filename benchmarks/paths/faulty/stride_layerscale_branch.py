# cause: stride
# size: 0.014
# dtype: bfloat16
# where: input 0 (x)
# source: FlagGems PR 1082 (rms_norm backward with non-contiguous dy), inside a layer-scaled residual branch
# why: the norm's backward reads a transposed dy as contiguous; the token-mixing branch is scaled by 0.01, so little of it shows in dx
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


def _raw(t):
    st, n = [], 1
    for s in reversed(t.shape):
        st.insert(0, n)
        n *= s
    return t.as_strided(t.shape, st)


class RMSFn(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, faulty):
        xf = _acc(x)
        r = ((xf * xf).mean(-1, keepdim=True) + 1e-6).rsqrt()
        ctx.save_for_backward(x, r)
        ctx.faulty = faulty
        return (xf * r).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        x, r = ctx.saved_tensors
        dy = _raw(dy) if ctx.faulty else dy.contiguous()
        g, xh = _acc(dy), _acc(x) * r
        return (r * (g - xh * (g * xh).mean(-1, keepdim=True))).to(x.dtype), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(25)
    x = torch.randn(4, 37, 40, generator=gen).bfloat16().requires_grad_()
    mix = (torch.randn(37, 37, generator=gen) / 37 ** 0.5).bfloat16()
    scale = torch.full((40,), 0.01).bfloat16()

    def reference(x, mix, scale):
        h = x * ((x * x).mean(-1, keepdim=True) + 1e-6).rsqrt()
        return x + (h.transpose(1, 2) @ mix).transpose(1, 2) * scale

    def candidate(x, mix, scale):
        h = RMSFn.apply(x, faulty).transpose(1, 2)
        return x + (h @ mix).transpose(1, 2) * scale

    return {"reference": reference, "candidate": candidate, "inputs": (x, mix, scale)}
