# vector quantisation: argmin over the code book, straight-through output and commitment terms with stop-gradients
import torch


def case():
    gen = torch.Generator().manual_seed(148)
    x = torch.randn(120, 8, generator=gen).requires_grad_()
    book = torch.randn(16, 8, generator=gen).requires_grad_()

    def reference(x, book):
        idx = ((x.detach()[:, None] - book.detach()[None]) ** 2).sum(-1).argmin(-1)
        e = book[idx]
        return x + (e - x).detach(), ((x.detach() - e) ** 2).mean(-1), 0.25 * ((x - e.detach()) ** 2).mean(-1)

    def candidate(x, book):
        with torch.no_grad():
            d = x.square().sum(-1, keepdim=True) - 2 * x @ book.t() + book.square().sum(-1)
            idx = d.argmin(-1)
        e = torch.nn.functional.embedding(idx, book)
        st = e.detach() + x - x.detach()
        return st, (e - x.detach()).square().sum(-1) / 8, (x - e.detach()).square().sum(-1) / 32

    return {"reference": reference, "candidate": candidate, "inputs": (x, book)}
