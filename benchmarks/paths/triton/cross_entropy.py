"""Cross entropy over a large vocabulary in Triton (online logsumexp over blocks of columns, mean over the tokens that
are not ignored), with planted backward faults.

Set TRITON_INTERPRET=1 before importing this module to run it on CPU tensors (device="cpu").
"""
import torch
import triton
import triton.language as tl

FAULTS: dict[str, str] = {
    "ignored_rows_not_masked": "padding",  # backward: rows whose target is ignore_index get softmax(logits) / n_valid
    "mean_over_all_rows": "scale",  # backward divides by the number of rows, forward by the number of valid ones
    "lse_row_within_chunk": "wrong-rows",  # from the second chunk on, lse is read at the row's place in its chunk
}

IGNORE = -100
BLOCK = 512
CHUNK = 64


@triton.jit
def _forward(x_ptr, target_ptr, loss_ptr, lse_ptr, n_cols: tl.constexpr, IGNORE_INDEX: tl.constexpr,
             BLOCK_C: tl.constexpr):
    row = tl.program_id(0)
    target = tl.load(target_ptr + row)
    top = tl.full([BLOCK_C], float("-inf"), dtype=tl.float32)
    for start in range(0, n_cols, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        x = tl.load(x_ptr + row * n_cols + c, mask=c < n_cols, other=float("-inf")).to(tl.float32)
        top = tl.maximum(top, x)
    row_top = tl.max(top, axis=0)
    total = tl.zeros([BLOCK_C], dtype=tl.float32)
    picked = tl.zeros([BLOCK_C], dtype=tl.float32)
    for start in range(0, n_cols, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        x = tl.load(x_ptr + row * n_cols + c, mask=c < n_cols, other=float("-inf")).to(tl.float32)
        total += tl.exp(x - row_top)
        picked += tl.where(c == target, x, 0.0)
    lse = row_top + tl.log(tl.sum(total, axis=0))
    loss = tl.where(target == IGNORE_INDEX, 0.0, lse - tl.sum(picked, axis=0))
    tl.store(lse_ptr + row, lse)
    tl.store(loss_ptr + row, loss)


@triton.jit
def _backward(x_ptr, target_ptr, lse_ptr, g_ptr, n_valid_ptr, dx_ptr, first_row, n_cols, LOCAL_LSE: tl.constexpr,
              MASK_IGNORED: tl.constexpr, IGNORE_INDEX: tl.constexpr, BLOCK_C: tl.constexpr):
    # one row of a chunk of rows and one block of columns: dx = (softmax(x) - onehot(target)) * g / n_valid
    local = tl.program_id(0)
    row = first_row + local
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    target = tl.load(target_ptr + row)
    if LOCAL_LSE:
        lse = tl.load(lse_ptr + local)
    else:
        lse = tl.load(lse_ptr + row)
    scale = tl.load(g_ptr).to(tl.float32) / tl.load(n_valid_ptr)
    if MASK_IGNORED:
        scale = tl.where(target == IGNORE_INDEX, 0.0, scale)
    x = tl.load(x_ptr + row * n_cols + c, mask=c < n_cols, other=float("-inf")).to(tl.float32)
    p = tl.exp(x - lse)
    dx = tl.where(c == target, p - 1.0, p) * scale
    tl.store(dx_ptr + row * n_cols + c, dx.to(dx_ptr.dtype.element_ty), mask=c < n_cols)


class CrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, target, fault):
        x, target = x.contiguous(), target.contiguous()
        rows, cols = x.shape
        loss = torch.empty(rows, dtype=torch.float32, device=x.device)
        lse = torch.empty_like(loss)
        _forward[(rows,)](x, target, loss, lse, n_cols=cols, IGNORE_INDEX=IGNORE, BLOCK_C=BLOCK)
        n_valid = (target != IGNORE).sum().to(torch.float32)
        ctx.save_for_backward(x, target, lse, n_valid)
        ctx.fault = fault
        return (loss.sum() / n_valid).to(x.dtype)

    @staticmethod
    def backward(ctx, g):
        x, target, lse, n_valid = ctx.saved_tensors
        rows, cols = x.shape
        dx = torch.empty_like(x)
        if ctx.fault == "mean_over_all_rows":
            n_valid = torch.full_like(n_valid, rows)
        for first in range(0, rows, CHUNK):
            grid = (min(CHUNK, rows - first), triton.cdiv(cols, BLOCK))
            _backward[grid](x, target, lse, g, n_valid, dx, first, cols,
                            LOCAL_LSE=ctx.fault == "lse_row_within_chunk",
                            MASK_IGNORED=ctx.fault != "ignored_rows_not_masked", IGNORE_INDEX=IGNORE, BLOCK_C=BLOCK)
        return dx, None, None


def case(fault: str, device: str = "cuda", *, rows: int | None = None, cols: int | None = None) -> dict:
    if fault and fault not in FAULTS:
        raise ValueError(f"no such fault: {fault!r}")
    if rows is None:
        rows = 90 if device == "cpu" else 160
    if cols is None:
        cols = 1001 if device == "cpu" else 3001
    gen = torch.Generator().manual_seed(13)
    spread = 1 + torch.rand(rows, 1, generator=gen)  # some rows are surer than others
    x = (spread * torch.randn(rows, cols, generator=gen)).to(device, torch.bfloat16).requires_grad_()
    target = torch.randint(cols, (rows,), generator=gen)
    # sequences of 20 tokens, padded at their ends
    length = torch.randint(12, 21, (-(-rows // 20),), generator=gen)
    place = torch.arange(rows)
    target[place % 20 >= length[place // 20]] = IGNORE
    target = target.to(device)

    def reference(x):
        return torch.nn.functional.cross_entropy(x, target.to(x.device), ignore_index=IGNORE)

    def candidate(x):
        return CrossEntropy.apply(x, target.to(x.device), fault)

    return {"reference": reference, "candidate": candidate, "inputs": (x,)}
