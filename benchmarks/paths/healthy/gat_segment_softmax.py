# graph attention: segment softmax with scatter_reduce amax (ties!) and index_add against a dense masked softmax
import torch, torch.nn.functional as F


def case():
    torch.manual_seed(16)
    n = 31
    adj = torch.rand(n, n) < 0.2
    adj[:, 4] = False
    dst, src = adj.t().nonzero(as_tuple=True)
    x = torch.randn(n, 11)
    x[7:10] = x[6]                                   # equal nodes: ties in the segment maximum
    x.requires_grad_()
    w = torch.randn(15, 11).requires_grad_()
    a = torch.randn(2, 15).requires_grad_()

    def reference(x, w, a):
        h = x @ w.t()
        e = F.leaky_relu((h @ a[0])[None, :] + (h @ a[1])[:, None], 0.2)
        m = adj.t()
        p = torch.where(m.any(1, keepdim=True), e.masked_fill(~m, -1e9).softmax(-1), torch.zeros_like(e))
        return F.elu(p @ h)

    def candidate(x, w, a):
        h = x @ w.t()
        e = F.leaky_relu((h @ a[0])[src] + (h @ a[1])[dst], 0.2)
        top = torch.zeros(n, dtype=e.dtype).scatter_reduce(0, dst, e, "amax", include_self=False)
        p = (e - top[dst]).exp()                     # not detached: the maximum's own gradient must cancel
        z = torch.zeros(n, dtype=e.dtype).index_add(0, dst, p)
        return F.elu(torch.zeros_like(h).index_add(0, dst, (p / z[dst])[:, None] * h[src]))

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, a)}
