# gated linear attention: chunkwise parallel form with cumulative log decays against the recurrence, bfloat16
import torch

C = 12


def case():
    torch.manual_seed(6)
    L, d = 53, 10
    q, k, v = (torch.randn(2, L, d).bfloat16().requires_grad_() for _ in range(3))
    g = (torch.randn(2, L) + 2).bfloat16().requires_grad_()

    def reference(q, k, v, g):
        dt = q.dtype
        a = torch.sigmoid(g.float() if dt != torch.float64 else g)
        s, out = a.new_zeros(2, d, d), []
        for t in range(L):
            s = s * a[:, t, None, None] + k[:, t, :, None].to(a.dtype) * v[:, t, None].to(a.dtype)
            out.append(torch.einsum("bi,bij->bj", q[:, t].to(a.dtype), s))
        return torch.stack(out, 1).to(dt)

    def candidate(q, k, v, g):
        dt = q.dtype
        w = torch.float64 if dt == torch.float64 else torch.float32
        la = torch.nn.functional.logsigmoid(g.to(w))
        s, out = torch.zeros(2, d, d, dtype=w), []
        for i in range(0, L, C):
            Q, K, V, c = q[:, i:i + C].to(w), k[:, i:i + C].to(w), v[:, i:i + C].to(w), la[:, i:i + C].cumsum(1)
            n = Q.shape[1]
            diff = (c[:, :, None] - c[:, None]).masked_fill(torch.ones(n, n, dtype=torch.bool).triu(1), float("-inf"))
            out.append(((Q @ K.transpose(1, 2)) * diff.exp()) @ V + (Q * c.exp()[..., None]) @ s)
            s = s * c[:, -1, None, None].exp() + (K * (c[:, -1:] - c).exp()[..., None]).transpose(1, 2) @ V
        return torch.cat(out, 1).to(dt)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v, g)}
