# cause: in-place
# size: 0.058
# dtype: float16
# where: input 0 (x)
# source: textbook (running statistics updated through .data between forward and backward)
# why: the running scale that the product saved for its backward is updated in place before the backward runs
import torch


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(66)
    x = torch.randn(110, 46, generator=gen).half().requires_grad_()
    w = (torch.randn(46, 46, generator=gen) / 46 ** 0.5).half().requires_grad_()
    running = (0.5 + torch.rand(46, generator=gen)).half()

    def reference(x, w, running):
        return torch.sigmoid((x @ w.t()) * running)

    def candidate(x, w, running):
        scale = running.clone()
        z = x @ w.t()
        y = torch.sigmoid(z * scale)
        new = scale.lerp(z.detach().std(0) * 1.5, 0.1)
        if faulty:
            scale.data.copy_(new)
        else:
            scale = new
        return y

    return {"reference": reference, "candidate": candidate, "inputs": (x, w, running)}
