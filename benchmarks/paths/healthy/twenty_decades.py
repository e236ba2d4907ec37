# the gradients of four tensors span twenty decades
import torch


def case():
    gen = torch.Generator().manual_seed(126)
    scales = [1e-12, 1e-5, 1.0, 1e8]
    ts = [torch.randn(26, 30, generator=gen).requires_grad_() for _ in scales]

    def reference(*ts):
        return sum(torch.sin(t) * s for t, s in zip(ts, scales)), tuple(ts)[0] * 1e-12

    def candidate(*ts):
        out = torch.sin(ts[3]) * scales[3]
        for t, s in list(zip(ts, scales))[2::-1]:
            out = out + torch.sin(t).mul(s)
        return out, ts[0].mul(1e-6).mul(1e-6)

    return {"reference": reference, "candidate": candidate, "inputs": tuple(ts)}
