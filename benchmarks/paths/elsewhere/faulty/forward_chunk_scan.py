# cause: forward
# breaks: odd size
# dtype: float32
# where: the output and both inputs; a length above 16 that is no multiple of 16
# source: NX-AI/mlstm_kernels pull 10 and fla-org/flash-linear-attention's chunked scans, simplified
# why: the state is handed on between full chunks of 16 only; a last, partial chunk starts from 0
import torch

CHUNK = 16


def case(faulty: bool) -> dict:
    gen = torch.Generator().manual_seed(118)
    x = torch.randn(2, 64, 10, generator=gen).requires_grad_()
    raw = (torch.randn(10, generator=gen) * 0.5 + 1.5).requires_grad_()

    def reference(x, raw):
        decay = torch.sigmoid(raw)
        state, out = torch.zeros_like(x[:, :0].sum(1)), [x[:, :0]]
        for t in range(x.shape[1]):
            state = decay * state + x[:, t]
            out.append(state[:, None])
        return torch.cat(out, 1) + 0 * decay

    def candidate(x, raw):
        decay = torch.sigmoid(raw)
        state, out = torch.zeros_like(x[:, :0].sum(1)), [x[:, :0]]
        for lo in range(0, x.shape[1], CHUNK):
            part = x[:, lo:lo + CHUNK]
            n = part.shape[1]
            if faulty and n < CHUNK:
                state = torch.zeros_like(state)
            steps = torch.arange(n, dtype=x.dtype)
            apart = steps[:, None] - steps[None, :]
            weight = torch.where(apart[..., None] >= 0, decay ** apart.clamp(min=0)[..., None], 0.0)
            y = torch.einsum("tsd,bsd->btd", weight, part) + decay ** (steps[:, None] + 1) * state[:, None]
            out.append(y)
            state = y[:, -1]
        return torch.cat(out, 1) + 0 * decay

    return {"reference": reference, "candidate": candidate, "inputs": (x, raw)}
