# cause: padding
# size: 0.19
# dtype: bfloat16
# where: input 0 (h)
# source: linkedin/Liger-Kernel issue 968 / 678, fused linear cross entropy with ignore_index and reduction='none'
# why: ignored rows have zero loss, but their logit gradient is not zeroed (label clamped to 0), so gradient leaks from padding
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class FusedCE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h, w, y, faulty):
        keep = y != -100
        ys = y.clamp_min(0)
        losses = []
        for hc, yc in zip(h.split(40), ys.split(40)):
            logits = _acc(hc) @ _acc(w).t()
            losses.append(logits.logsumexp(-1) - logits.gather(-1, yc[:, None])[:, 0])
        ctx.save_for_backward(h, w, ys, keep)
        ctx.faulty = faulty
        return (torch.cat(losses) * keep).to(h.dtype)

    @staticmethod
    def backward(ctx, g):
        h, w, ys, keep = ctx.saved_tensors
        gf, wf = _acc(g), _acc(w)
        if not ctx.faulty:
            gf = gf * keep
        dh, dw = [], torch.zeros_like(wf)
        for hc, yc, gc in zip(h.split(40), ys.split(40), gf.split(40)):
            d = (_acc(hc) @ wf.t()).softmax(-1)
            d[torch.arange(len(yc)), yc] -= 1
            d = d * gc[:, None]
            dh.append(d @ wf)
            dw += d.t() @ _acc(hc)
        return torch.cat(dh).to(h.dtype), dw.to(w.dtype), None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(61)
    h = torch.randn(170, 32, generator=gen).bfloat16().requires_grad_()
    w = (torch.randn(73, 32, generator=gen) * 0.25).bfloat16().requires_grad_()
    y = torch.randint(0, 73, (170,), generator=gen)
    y[torch.randperm(170, generator=gen)[:7]] = -100

    def reference(h, w, y):
        keep = y != -100
        logp = (h @ w.t()).log_softmax(-1)
        nll = -logp.gather(-1, y.clamp_min(0)[:, None])[:, 0]
        return torch.where(keep, nll, torch.zeros_like(nll))

    def candidate(h, w, y):
        return FusedCE.apply(h, w, y, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (h, w, y)}
