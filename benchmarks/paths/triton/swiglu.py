"""SwiGLU with dropout in Triton, dropout(silu(a) * b); backward recomputes the sigmoid and the dropout mask. With
planted backward faults. The case adds the residual a, so the gradient of the output has a second user.

Set TRITON_INTERPRET=1 before importing this module to run it on CPU tensors (device="cpu").
"""
import torch
import triton
import triton.language as tl

FAULTS: dict[str, str] = {
    "sigmoid_derivative_missing": "missing-term",  # silu' taken as sigmoid(a): a sigmoid(a) (1 - sigmoid(a)) is lost
    "dropout_redrawn_in_backward": "new-dropout",  # backward draws a seed of its own instead of the forward's
    "db_written_over_grad_output": "in-place",  # db goes into grad_output's memory, which the residual still needs
}

BLOCK = 256
P_DROP = 0.1
SEED = 20240


@triton.jit
def _forward(a_ptr, b_ptr, y_ptr, n_cols, seed, p_drop, BLOCK_C: tl.constexpr):
    row = tl.program_id(0)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask = c < n_cols
    at = row * n_cols + c
    a = tl.load(a_ptr + at, mask=mask, other=0.0).to(tl.float32)
    b = tl.load(b_ptr + at, mask=mask, other=0.0).to(tl.float32)
    keep = tl.rand(seed, at) >= p_drop
    y = tl.where(keep, a / (1.0 + tl.exp(-a)) * b / (1.0 - p_drop), 0.0)
    tl.store(y_ptr + at, y.to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _backward(a_ptr, b_ptr, g_ptr, da_ptr, db_ptr, n_cols, seed, p_drop, ONLY_SIGMOID: tl.constexpr,
              BLOCK_C: tl.constexpr):
    row = tl.program_id(0)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask = c < n_cols
    at = row * n_cols + c
    a = tl.load(a_ptr + at, mask=mask, other=0.0).to(tl.float32)
    b = tl.load(b_ptr + at, mask=mask, other=0.0).to(tl.float32)
    g = tl.load(g_ptr + at, mask=mask, other=0.0).to(tl.float32)
    keep = tl.rand(seed, at) >= p_drop
    g = tl.where(keep, g / (1.0 - p_drop), 0.0)
    sig = 1.0 / (1.0 + tl.exp(-a))
    if ONLY_SIGMOID:
        slope = sig
    else:
        slope = sig + a * sig * (1.0 - sig)
    tl.store(da_ptr + at, (g * b * slope).to(da_ptr.dtype.element_ty), mask=mask)
    tl.store(db_ptr + at, (g * a * sig).to(db_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _keep(keep_ptr, n_cols, seed, p_drop, BLOCK_C: tl.constexpr):
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    at = tl.program_id(0) * n_cols + c
    tl.store(keep_ptr + at, (tl.rand(seed, at) >= p_drop).to(tl.float32), mask=c < n_cols)


class SwiGLUDropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx, a, b, seed, fault):
        a, b = a.contiguous(), b.contiguous()
        rows, cols = a.shape
        y = torch.empty_like(a)
        _forward[(rows, triton.cdiv(cols, BLOCK))](a, b, y, cols, seed, P_DROP, BLOCK_C=BLOCK)
        ctx.save_for_backward(a, b)
        ctx.seed, ctx.fault = seed, fault
        return y

    @staticmethod
    def backward(ctx, g):
        a, b = ctx.saved_tensors
        rows, cols = a.shape
        g = g.contiguous()
        seed = ctx.seed
        if ctx.fault == "dropout_redrawn_in_backward":
            seed = int(torch.randint(2, 2**31 - 1, ()))
        da = torch.empty_like(a)
        db = g if ctx.fault == "db_written_over_grad_output" else torch.empty_like(b)
        _backward[(rows, triton.cdiv(cols, BLOCK))](a, b, g, da, db, cols, seed, P_DROP,
                                                    ONLY_SIGMOID=ctx.fault == "sigmoid_derivative_missing",
                                                    BLOCK_C=BLOCK)
        return da, db, None, None


def case(fault: str, device: str = "cuda", *, rows: int | None = None, cols: int | None = None) -> dict:
    if fault and fault not in FAULTS:
        raise ValueError(f"no such fault: {fault!r}")
    if rows is None:
        rows = 21 if device == "cpu" else 190
    if cols is None:
        cols = 300 if device == "cpu" else 1000
    gen = torch.Generator().manual_seed(14)
    a = torch.randn(rows, cols, generator=gen).to(device, torch.bfloat16).requires_grad_()
    b = (3 * torch.randn(rows, cols, generator=gen)).to(device, torch.bfloat16).requires_grad_()
    keep = torch.empty(rows, cols, dtype=torch.float32, device=device)
    _keep[(rows, triton.cdiv(cols, BLOCK))](keep, cols, SEED, P_DROP, BLOCK_C=BLOCK)

    def reference(a, b):
        return a * torch.sigmoid(a) * b * keep.to(a.device, a.dtype) / (1 - P_DROP) + a

    def candidate(a, b):
        return SwiGLUDropout.apply(a, b, SEED, fault) + a

    return {"reference": reference, "candidate": candidate, "inputs": (a, b)}
