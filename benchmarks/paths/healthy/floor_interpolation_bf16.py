# linear interpolation in a table: floor may choose another cell in bf16 than in float32, and the slope jumps there
import torch


def case():
    gen = torch.Generator().manual_seed(132)
    pos = (torch.rand(800, generator=gen) * 18.5).bfloat16().requires_grad_()
    table = torch.randn(20, 5, generator=gen).bfloat16().requires_grad_()

    def reference(pos, table):
        u = pos * 1.01
        i = u.detach().floor().long()
        f = (u - i.to(u.dtype))[:, None]
        return table[i] * (1 - f) + table[i + 1] * f

    def candidate(pos, table):
        u = pos * 1.01
        i = u.detach().floor().long()
        f = (u - i.to(u.dtype))[:, None]
        lo, hi = torch.nn.functional.embedding(i, table), torch.nn.functional.embedding(i + 1, table)
        return torch.lerp(lo, hi, f.expand_as(lo))

    return {"reference": reference, "candidate": candidate, "inputs": (pos, table)}
