# top-2 routing on bf16 router logits: the choice may differ from float32's, but both ways choose from the same rounded logits
import torch


def case():
    gen = torch.Generator().manual_seed(130)
    x = torch.randn(90, 16, generator=gen).bfloat16().requires_grad_()
    wr = (torch.randn(6, 16, generator=gen) / 4).bfloat16().requires_grad_()
    we = (torch.randn(6, 11, 16, generator=gen) / 4).bfloat16().requires_grad_()

    def route(x, wr):
        z = x @ wr.t()
        top, idx = z.topk(2, -1)
        return top.softmax(-1), idx

    def reference(x, wr, we):
        p, idx = route(x, wr)
        y = torch.einsum("td,eod->teo", x, we)
        return (y.gather(1, idx[..., None].expand(-1, -1, y.shape[-1])) * p[..., None]).sum(1)

    def candidate(x, wr, we):
        p, idx = route(x, wr)
        up = x.dtype if x.dtype == torch.float64 else torch.float32
        out = torch.zeros(x.shape[0], we.shape[1], dtype=up)
        for e in range(we.shape[0]):
            tok, slot = (idx == e).nonzero(as_tuple=True)
            out = out.index_add(0, tok, (x[tok] @ we[e].t()).to(up) * p[tok, slot, None].to(up))
        return out.to(x.dtype)

    return {"reference": reference, "candidate": candidate, "inputs": (x, wr, we)}
