# torch's ctc_loss (own backward) against the forward algorithm in log space, unequal lengths, repeated labels
import torch, torch.nn.functional as F


def case():
    torch.manual_seed(13)
    T, N, C = 24, 4, 9
    x = (torch.randn(T, N, C) * 2).requires_grad_()
    targets = torch.tensor([[1, 2, 2, 5, 7], [3, 3, 3, 0, 0], [8, 1, 4, 6, 0], [5, 0, 0, 0, 0]])
    tl, il = torch.tensor([5, 3, 4, 1]), torch.tensor([24, 13, 20, 7])

    def reference(x):
        lp, out = x.log_softmax(-1), []
        neg = x.new_full((1,), -1e30)
        for n in range(N):
            lab = [0]
            for c in targets[n, :tl[n]].tolist():
                lab += [c, 0]
            lab = torch.tensor(lab)
            skip = torch.zeros(len(lab), dtype=torch.bool)
            skip[2:] = (lab[2:] != 0) & (lab[2:] != lab[:-2])
            a = torch.where(torch.arange(len(lab)) < 2, lp[0, n, lab], neg)
            for t in range(1, int(il[n])):
                s1 = torch.cat([neg, a[:-1]])
                s2 = torch.where(skip, torch.cat([neg, neg, a[:-2]]), neg)
                a = torch.logsumexp(torch.stack([a, s1, s2]), 0) + lp[t, n, lab]
            out.append(-torch.logsumexp(a[-2:], 0))
        return torch.stack(out)

    def candidate(x):
        return F.ctc_loss(x.log_softmax(-1), targets, il, tl, reduction="none")

    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
