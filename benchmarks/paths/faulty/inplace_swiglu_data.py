# cause: in-place
# size: 0.75
# dtype: bfloat16
# where: input 1 (wg)
# source: unslothai/unsloth issue 3314 (SwiGLU kernels that store into the buffers they read), here in the forward
# why: to save memory the product silu(gate)*up is written into gate's buffer through .data, which silu has saved for its backward
import torch


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(64)
    x = torch.randn(66, 36, generator=gen).bfloat16().requires_grad_()
    wg = (torch.randn(52, 36, generator=gen) / 6).bfloat16().requires_grad_()
    wu = (torch.randn(52, 36, generator=gen) / 6).bfloat16().requires_grad_()
    wd = (torch.randn(36, 52, generator=gen) / 52 ** 0.5).bfloat16().requires_grad_()

    def reference(x, wg, wu, wd):
        gate, up = x @ wg.t(), x @ wu.t()
        return (gate * torch.sigmoid(gate) * up) @ wd.t()

    def candidate(x, wg, wu, wd):
        gate, up = x @ wg.t(), x @ wu.t()
        h = torch.nn.functional.silu(gate) * up
        if faulty:
            gate.data.copy_(h.data)  # reuse the buffer for the next layer's input
        return h @ wd.t()

    return {"reference": reference, "candidate": candidate, "inputs": (x, wg, wu, wd)}
