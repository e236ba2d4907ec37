# embedding where one id occurs some hundred times, bf16: index_add against a one-hot product
import torch


def case():
    gen = torch.Generator().manual_seed(134)
    table = torch.randn(19, 26, generator=gen).bfloat16().requires_grad_()
    ids = torch.randint(0, 19, (600,), generator=gen)
    ids[torch.randperm(600, generator=gen)[:350]] = 7
    ids[ids == 4] = 5  # id 4 never occurs: its gradient is exactly zero

    def candidate(table, ids):
        hot = torch.nn.functional.one_hot(ids, table.shape[0]).to(table.dtype)
        return hot @ table

    return {"reference": lambda t, i: t[i], "candidate": candidate, "inputs": (table, ids)}
