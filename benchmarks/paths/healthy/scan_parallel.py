# linear recurrence h_t = a_t h_{t-1} + x_t: step by step against a log-depth parallel scan
import torch


def case():
    gen = torch.Generator().manual_seed(144)
    a = (0.7 + 0.3 * torch.rand(4, 75, 9, generator=gen)).requires_grad_()
    x = torch.randn(4, 75, 9, generator=gen).requires_grad_()

    def reference(a, x):
        h, out = torch.zeros_like(x[:, 0]), []
        for t in range(x.shape[1]):
            h = a[:, t] * h + x[:, t]
            out.append(h)
        return torch.stack(out, 1)

    def candidate(a, x):
        step = 1
        while step < x.shape[1]:
            xp = torch.cat([torch.zeros_like(x[:, :step]), x[:, :-step]], 1)
            ap = torch.cat([torch.ones_like(a[:, :step]), a[:, :-step]], 1)
            x, a = x + a * xp, a * ap
            step *= 2
        return x

    return {"reference": reference, "candidate": candidate, "inputs": (a, x)}
