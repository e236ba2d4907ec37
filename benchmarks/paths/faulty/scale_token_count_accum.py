# cause: scale
# size: 0.048
# dtype: bfloat16
# where: input 1 (w), equal: input 0 (h)
# source: unsloth / transformers, gradient accumulation with unequal token counts (unsloth PR 1134, trl issue 2175)
# why: backward of the chunked linear+cross-entropy divides each chunk by its own token count times the number of chunks, not by the total count
import torch


def _acc(t):
    return t if t.dtype == torch.float64 else t.float()


class ChunkedLinearCE(torch.autograd.Function):
    """per-sequence share of the mean loss; the gradient is prepared chunk by chunk in the forward, as in fused linear cross entropy"""

    @staticmethod
    def forward(ctx, h, w, labels, faulty):
        total = (labels != -100).sum()
        out, dhs, dws = [], [], []
        wf = _acc(w)
        for b in range(h.shape[0]):
            hb, lb = _acc(h[b]), labels[b]
            logits = hb @ wf.t()
            keep = lb != -100
            logp = logits.log_softmax(-1)
            safe = lb.clamp_min(0)
            nll = -logp.gather(-1, safe[:, None])[:, 0] * keep
            out.append(nll.sum() / total)
            d = logp.exp()
            d[torch.arange(len(lb)), safe] -= 1
            d = d * keep[:, None]
            d = d / (keep.sum() * h.shape[0] if faulty else total)
            dhs.append(d @ wf)
            dws.append(d.t() @ hb)
        ctx.save_for_backward(torch.stack(dhs), torch.stack(dws))
        ctx.dt = h.dtype, w.dtype
        return torch.stack(out).to(h.dtype)

    @staticmethod
    def backward(ctx, g):
        dh, dw = ctx.saved_tensors
        g = g.to(dh.dtype)
        return (dh * g[:, None, None]).to(ctx.dt[0]), (dw * g[:, None, None]).sum(0).to(ctx.dt[1]), None, None


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(11)
    B, T, D, V = 8, 61, 24, 97
    h = torch.randn(B, T, D, generator=gen).bfloat16().requires_grad_()
    w = (torch.randn(V, D, generator=gen) * 0.3).bfloat16().requires_grad_()
    labels = torch.randint(0, V, (B, T), generator=gen)
    for b, n in enumerate([61, 55, 51, 60, 50, 56, 59, 52]):
        labels[b, n:] = -100

    def reference(h, w, labels):
        logp = (h @ w.t()).log_softmax(-1)
        keep = labels != -100
        nll = -logp.gather(-1, labels.clamp_min(0)[..., None])[..., 0]
        nll = torch.where(keep, nll, torch.zeros_like(nll))
        return nll.sum(1) / keep.sum()

    def candidate(h, w, labels):
        return ChunkedLinearCE.apply(h, w, labels, faulty)

    return {"reference": reference, "candidate": candidate, "inputs": (h, w, labels)}
