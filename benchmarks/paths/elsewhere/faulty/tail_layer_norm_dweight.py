# cause: tail
# breaks: odd size
# dtype: float32
# where: inputs 1 (w) and 2 (b); rows no multiple of 16, one row too
# source: linkedin/Liger-Kernel issue 1135 (rows per program in the norm's dW partial sums), simplified
# why: dweight and dbias sum over full blocks of 16 rows only; the last, partial block is dropped
import torch


class LayerNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, b, faulty):
        acc = torch.promote_types(x.dtype, torch.float32)
        xa = x.to(acc)
        mean = xa.mean(-1, keepdim=True)
        rstd = torch.rsqrt((xa - mean).square().mean(-1, keepdim=True) + 1e-5)
        ctx.save_for_backward(x, w, mean, rstd)
        ctx.faulty = faulty
        return ((xa - mean) * rstd * w + b).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        x, w, mean, rstd = ctx.saved_tensors
        xhat, ga = (x.to(mean.dtype) - mean) * rstd, g.to(mean.dtype)
        gw = ga * w
        dx = rstd * (gw - gw.mean(-1, keepdim=True) - xhat * (gw * xhat).mean(-1, keepdim=True))
        block = 16
        gr, hr = ga.flatten(0, -2), xhat.flatten(0, -2)
        rows = gr.shape[0]
        dw, db = torch.zeros_like(gr[:0].sum(0)), torch.zeros_like(gr[:0].sum(0))
        for i in range(rows // block if ctx.faulty else -(-rows // block)):
            part = slice(i * block, (i + 1) * block)
            dw += (gr[part] * hr[part]).sum(0)
            db += gr[part].sum(0)
        return dx.to(x.dtype), dw.to(w.dtype), db.to(w.dtype), None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(101)
    x = torch.randn(96, 40, generator=gen).requires_grad_()
    w = (torch.randn(40, generator=gen) * 0.2 + 1).requires_grad_()
    b = torch.randn(40, generator=gen).requires_grad_()

    def reference(x, w, b):
        away = x - x.mean(-1, keepdim=True)
        return away * torch.rsqrt(away.square().mean(-1, keepdim=True) + 1e-5) * w + b

    def candidate(x, w, b):
        return LayerNorm.apply(x, w, b, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, b)}
