# cause: wrong-rows
# size: 0.86
# dtype: float32
# where: emb.weight
# source: Liger-Kernel issue 968, PR 1298: fused linear cross entropy with reduction="none" and ignored rows
# why: after ignored tokens are squeezed out, row i of the compacted block takes grad_output[i] of the uncompacted one
import torch, torch.nn as nn, torch.nn.functional as F

V, D, IGN = 90, 32, -100


class FusedLinearCE(torch.autograd.Function):
    @staticmethod
    def forward(ctx, h, w, t, chunk, faulty):
        keep = (t != IGN).nonzero().flatten()
        loss = h.new_zeros(t.shape[0])
        for r in keep.split(chunk):
            loss[r] = F.cross_entropy(h[r] @ w.t(), t[r], reduction="none")
        ctx.save_for_backward(h, w, t, keep)
        ctx.chunk, ctx.faulty = chunk, faulty
        return loss

    @staticmethod
    def backward(ctx, g):
        h, w, t, keep = ctx.saved_tensors
        dh, dw, start = torch.zeros_like(h), torch.zeros_like(w), 0
        for r in keep.split(ctx.chunk):
            p = (h[r] @ w.t()).softmax(-1)
            p[torch.arange(len(r)), t[r]] -= 1
            rows = slice(start, start + len(r)) if ctx.faulty else r
            p *= g[rows, None]
            dh[r] = p @ w
            dw += p.t() @ h[r]
            start += len(r)
        return dh, dw, None, None, None


class LM(nn.Module):
    def __init__(self):
        super().__init__()
        self.emb = nn.Embedding(V, D)
        self.mix = nn.Linear(D, D)
        self.head = nn.Linear(D, V, bias=False)

    def loss(self, h, t):
        return F.cross_entropy(self.head(h), t, reduction="none", ignore_index=IGN)

    def forward(self, ids, t):
        e = self.emb(ids)
        return self.loss((e + torch.tanh(self.mix(e))).flatten(0, 1), t.flatten())


class FusedLM(LM):
    faulty = False

    def loss(self, h, t):
        return FusedLinearCE.apply(h, self.head.weight, t, 24, self.faulty)


def case(faulty):
    torch.manual_seed(3)
    ref, can = LM(), FusedLM()
    can.load_state_dict(ref.state_dict())
    can.faulty = faulty
    ids = torch.randint(0, V, (5, 19))
    t = torch.randint(0, V, (5, 19))
    t[2, 11:] = IGN
    t[4, 3:6] = IGN
    return {"reference": ref, "candidate": can, "inputs": (ids, t)}
