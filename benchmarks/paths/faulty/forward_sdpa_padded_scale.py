# cause: forward
# size: 0.017
# dtype: bfloat16
# where: output (and so input 1 (k))
# source: textbook (head dimension padded before scaled_dot_product_attention without an explicit scale)
# why: under bf16 autocast the heads are padded from 47 to 48, and the default scale becomes 1/sqrt(48)
import contextlib
import torch


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(68)
    q, k, v = (torch.randn(2, 3, 39, 47, generator=gen).requires_grad_() for _ in range(3))

    def reference(q, k, v):
        return (q @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).softmax(-1) @ v

    def candidate(q, k, v):
        d = q.shape[-1]
        scale = None if faulty else d ** -0.5
        amp = torch.autocast("cpu", torch.bfloat16) if q.dtype == torch.float32 else contextlib.nullcontext()
        with amp:
            q, k, v = (torch.nn.functional.pad(t, (0, 1)) for t in (q, k, v))
            o = torch.nn.functional.scaled_dot_product_attention(q, k, v, scale=scale)
        return o[..., :d].to(q.dtype)

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v)}
