"""RMSNorm in Triton (forward, backward with the weight gradient summed over splits of the rows), with planted
backward faults.

Set TRITON_INTERPRET=1 before importing this module to run it on CPU tensors (device="cpu").
"""
import torch
import triton
import triton.language as tl

FAULTS: dict[str, str] = {
    "dweight_last_rows_missing": "tail",  # rows per split is rows // splits: the remainder is never visited
    "dweight_summed_in_input_dtype": "precision",  # the running sum over rows has the weight's dtype (bf16)
    "dx_mean_term_sign": "sign",  # dx = rstd * (w dy + xhat mean(w dy xhat)): should be minus
}

EPS = 1e-6
SPLITS = 2
BLOCK_R = 4
BLOCK_C = 128


@triton.jit
def _forward(x_ptr, w_ptr, y_ptr, rstd_ptr, n_rows, n_cols, eps, BLOCK_R: tl.constexpr, BLOCK: tl.constexpr):
    r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    c = tl.arange(0, BLOCK)
    mask = (r < n_rows)[:, None] & (c < n_cols)[None, :]
    at = r[:, None] * n_cols + c[None, :]
    x = tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32)
    w = tl.load(w_ptr + c, mask=c < n_cols, other=0.0).to(tl.float32)
    rstd = 1.0 / tl.sqrt(tl.sum(x * x, axis=1) / n_cols + eps)
    tl.store(rstd_ptr + r, rstd, mask=r < n_rows)
    tl.store(y_ptr + at, (x * rstd[:, None] * w[None, :]).to(y_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _backward_x(x_ptr, w_ptr, dy_ptr, rstd_ptr, dx_ptr, n_rows, n_cols, s_r, s_c, PLUS: tl.constexpr,
                BLOCK_R: tl.constexpr, BLOCK: tl.constexpr):
    r = tl.program_id(0) * BLOCK_R + tl.arange(0, BLOCK_R)
    c = tl.arange(0, BLOCK)
    mask = (r < n_rows)[:, None] & (c < n_cols)[None, :]
    at = r[:, None] * n_cols + c[None, :]
    x = tl.load(x_ptr + at, mask=mask, other=0.0).to(tl.float32)
    w = tl.load(w_ptr + c, mask=c < n_cols, other=0.0).to(tl.float32)
    dy = tl.load(dy_ptr + r[:, None] * s_r + c[None, :] * s_c, mask=mask, other=0.0).to(tl.float32)
    rstd = tl.load(rstd_ptr + r, mask=r < n_rows, other=0.0)
    xhat = x * rstd[:, None]
    wdy = w[None, :] * dy
    mean = tl.sum(wdy * xhat, axis=1) / n_cols
    if PLUS:
        dx = rstd[:, None] * (wdy + xhat * mean[:, None])
    else:
        dx = rstd[:, None] * (wdy - xhat * mean[:, None])
    tl.store(dx_ptr + at, dx.to(dx_ptr.dtype.element_ty), mask=mask)


@triton.jit
def _round_to_bf16(x):
    # to the nearest, ties to even, by the bits: Triton's interpreter would cut the bits off
    bits = x.to(tl.int32, bitcast=True)
    bits = (bits + 32767 + ((bits >> 16) & 1)) & -65536
    return bits.to(tl.float32, bitcast=True)


@triton.jit
def _backward_w(x_ptr, dy_ptr, rstd_ptr, partial_ptr, n_rows, n_cols, s_r, s_c,
                ROWS_PER_SPLIT: tl.constexpr, SUM_DTYPE: tl.constexpr, BLOCK: tl.constexpr):
    # one block of columns, one split of the rows: partial[split, c] = sum over its rows of dy * x * rstd
    split = tl.program_id(1)
    c = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    mask = c < n_cols
    acc = tl.zeros([BLOCK], dtype=tl.float32)
    for i in range(0, ROWS_PER_SPLIT):
        row = split * ROWS_PER_SPLIT + i
        inside = mask & (row < n_rows)
        x = tl.load(x_ptr + row * n_cols + c, mask=inside, other=0.0).to(tl.float32)
        dy = tl.load(dy_ptr + row * s_r + c * s_c, mask=inside, other=0.0).to(tl.float32)
        rstd = tl.load(rstd_ptr + row, mask=row < n_rows, other=0.0)
        acc += dy * x * rstd
        if SUM_DTYPE == "bf16":
            acc = _round_to_bf16(acc)
        if SUM_DTYPE == "fp16":
            acc = acc.to(tl.float16).to(tl.float32)
    tl.store(partial_ptr + split * n_cols + c, acc, mask=mask)


_NAMES = {torch.float32: "fp32", torch.bfloat16: "bf16", torch.float16: "fp16"}


class RMSNorm(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, fault):
        x, w = x.contiguous(), w.contiguous()
        rows, cols = x.shape
        y = torch.empty_like(x)
        rstd = torch.empty(rows, dtype=torch.float32, device=x.device)
        _forward[(triton.cdiv(rows, BLOCK_R),)](x, w, y, rstd, rows, cols, EPS, BLOCK_R=BLOCK_R,
                                               BLOCK=triton.next_power_of_2(cols))
        ctx.save_for_backward(x, w, rstd)
        ctx.fault = fault
        return y

    @staticmethod
    def backward(ctx, dy):
        x, w, rstd = ctx.saved_tensors
        rows, cols = x.shape
        dx = torch.empty_like(x)
        _backward_x[(triton.cdiv(rows, BLOCK_R),)](x, w, dy, rstd, dx, rows, cols, *dy.stride(),
                                                   PLUS=ctx.fault == "dx_mean_term_sign", BLOCK_R=BLOCK_R,
                                                   BLOCK=triton.next_power_of_2(cols))
        per_split = rows // SPLITS if ctx.fault == "dweight_last_rows_missing" else triton.cdiv(rows, SPLITS)
        sum_dtype = _NAMES[w.dtype] if ctx.fault == "dweight_summed_in_input_dtype" else "fp32"
        partial = torch.empty(SPLITS, cols, dtype=torch.float32, device=x.device)
        _backward_w[(triton.cdiv(cols, BLOCK_C), SPLITS)](x, dy, rstd, partial, rows, cols, *dy.stride(),
                                                          ROWS_PER_SPLIT=per_split, SUM_DTYPE=sum_dtype, BLOCK=BLOCK_C)
        return dx, partial.sum(0).to(w.dtype), None


def case(fault: str, device: str = "cuda", *, rows: int | None = None, cols: int | None = None) -> dict:
    if fault and fault not in FAULTS:
        raise ValueError(f"no such fault: {fault!r}")
    if rows is None:
        rows = 411 if device == "cpu" else 811  # odd: the second split has one row less
    if cols is None:
        cols = 100 if device == "cpu" else 771
    gen = torch.Generator().manual_seed(12)
    x = torch.randn(rows, cols, generator=gen).to(device, torch.bfloat16).requires_grad_()
    w = (1 + 0.3 * torch.randn(cols, generator=gen)).to(device, torch.bfloat16).requires_grad_()

    def reference(x, w):
        return x * torch.rsqrt((x * x).mean(-1, keepdim=True) + EPS) * w

    def candidate(x, w):
        return RMSNorm.apply(x, w, fault)

    return {"reference": reference, "candidate": candidate, "inputs": (x, w)}
