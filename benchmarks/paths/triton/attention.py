"""Causal attention in Triton (forward with online softmax, backward recomputing the probabilities), with planted
backward faults.

Set TRITON_INTERPRET=1 before importing this module to run it on CPU tensors (device="cpu").
"""
import math
import os

import torch
import triton
import triton.language as tl

FAULTS: dict[str, str] = {
    "dq_scale_of_padded_head_dim": "scale",  # dq times 1/sqrt(64), the padded block, not 1/sqrt(head dim 60)
    "dk_delta_lost_off_diagonal": "missing-term",  # dk: rowsum(dO * O) is subtracted in the diagonal blocks only
    "delta_read_with_strides_of_o": "stride",  # the delta kernel walks dO with the strides of O, dO is transposed
}

BLOCK = 32
LOG2E = 1.4426950408889634
INTERPRETED = os.environ.get("TRITON_INTERPRET", "0") == "1"


@triton.jit
def _dot(a, b, WIDE: tl.constexpr):
    # Triton's interpreter multiplies the bit patterns of bf16 operands: widen them there (the products are the same)
    if WIDE:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, input_precision="ieee")


@triton.jit
def _forward(q_ptr, k_ptr, v_ptr, o_ptr, lse_ptr, qk_scale,
             length: tl.constexpr, D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
             WIDE: tl.constexpr):
    # q, k, v, o: contiguous (batch * heads, length, D); lse: (batch * heads, length), in base 2
    block = tl.program_id(0)
    head = tl.program_id(1)
    base = head * length * D
    m = block * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, BLOCK_D)
    row_mask = (m < length)[:, None] & (d < D)[None, :]
    q = tl.load(q_ptr + base + m[:, None] * D + d[None, :], mask=row_mask, other=0.0)
    top = tl.full([BLOCK_M], float("-inf"), dtype=tl.float32)
    total = tl.zeros([BLOCK_M], dtype=tl.float32)
    acc = tl.zeros([BLOCK_M, BLOCK_D], dtype=tl.float32)
    for start in range(0, length, BLOCK_N):  # blocks past the diagonal add nothing
        n = start + tl.arange(0, BLOCK_N)
        col_mask = (n < length)[:, None] & (d < D)[None, :]
        k = tl.load(k_ptr + base + n[:, None] * D + d[None, :], mask=col_mask, other=0.0)
        v = tl.load(v_ptr + base + n[:, None] * D + d[None, :], mask=col_mask, other=0.0)
        s = _dot(q, tl.trans(k), WIDE) * qk_scale
        s = tl.where((m[:, None] >= n[None, :]) & (n < length)[None, :], s, float("-inf"))
        new_top = tl.maximum(top, tl.max(s, axis=1))
        shrink = tl.exp2(top - new_top)
        p = tl.exp2(s - new_top[:, None])
        total = total * shrink + tl.sum(p, axis=1)
        acc = acc * shrink[:, None] + _dot(p.to(v.dtype), v, WIDE)
        top = new_top
    acc = acc / total[:, None]
    tl.store(o_ptr + base + m[:, None] * D + d[None, :], acc.to(o_ptr.dtype.element_ty), mask=row_mask)
    tl.store(lse_ptr + head * length + m, top + tl.log2(total), mask=m < length)


@triton.jit
def _delta(o_ptr, do_ptr, delta_ptr, heads, length, s_b, s_h, s_l, s_d,
           D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_D: tl.constexpr):
    # delta[row] = sum over d of dO * O
    head = tl.program_id(1)
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, BLOCK_D)
    mask = (m < length)[:, None] & (d < D)[None, :]
    o = tl.load(o_ptr + head * length * D + m[:, None] * D + d[None, :], mask=mask, other=0.0).to(tl.float32)
    start = (head // heads) * s_b + (head % heads) * s_h
    do = tl.load(do_ptr + start + m[:, None] * s_l + d[None, :] * s_d, mask=mask, other=0.0).to(tl.float32)
    tl.store(delta_ptr + head * length + m, tl.sum(o * do, axis=1), mask=m < length)


@triton.jit
def _backward_kv(q_ptr, k_ptr, v_ptr, do_ptr, lse_ptr, delta_ptr, dk_ptr, dv_ptr, heads,
                 qk_scale, sm_scale, s_b, s_h, s_l, s_d, DELTA_ON_DIAGONAL_ONLY: tl.constexpr,
                 length: tl.constexpr, D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
                 BLOCK_D: tl.constexpr, WIDE: tl.constexpr):
    # one block of keys: walks the blocks of queries
    block = tl.program_id(0)
    head = tl.program_id(1)
    base = head * length * D
    do_base = (head // heads) * s_b + (head % heads) * s_h
    n = block * BLOCK_N + tl.arange(0, BLOCK_N)
    d = tl.arange(0, BLOCK_D)
    col_mask = (n < length)[:, None] & (d < D)[None, :]
    k = tl.load(k_ptr + base + n[:, None] * D + d[None, :], mask=col_mask, other=0.0)
    v = tl.load(v_ptr + base + n[:, None] * D + d[None, :], mask=col_mask, other=0.0)
    dk = tl.zeros([BLOCK_N, BLOCK_D], dtype=tl.float32)
    dv = tl.zeros([BLOCK_N, BLOCK_D], dtype=tl.float32)
    for start in range(0, length, BLOCK_M):  # blocks above the diagonal add nothing
        m = start + tl.arange(0, BLOCK_M)
        row_mask = (m < length)[:, None] & (d < D)[None, :]
        q = tl.load(q_ptr + base + m[:, None] * D + d[None, :], mask=row_mask, other=0.0)
        do = tl.load(do_ptr + do_base + m[:, None] * s_l + d[None, :] * s_d, mask=row_mask, other=0.0)
        lse = tl.load(lse_ptr + head * length + m, mask=m < length, other=0.0)
        s = _dot(q, tl.trans(k), WIDE) * qk_scale
        seen = (m[:, None] >= n[None, :]) & (m < length)[:, None] & (n < length)[None, :]
        p = tl.exp2(tl.where(seen, s - lse[:, None], float("-inf")))
        dv += _dot(tl.trans(p.to(do.dtype)), do, WIDE)
        dp = _dot(do, tl.trans(v), WIDE)
        delta = tl.load(delta_ptr + head * length + m, mask=m < length, other=0.0)
        if DELTA_ON_DIAGONAL_ONLY:
            delta = tl.where(m < (block + 1) * BLOCK_N, delta, 0.0)
        ds = p * (dp - delta[:, None])
        dk += _dot(tl.trans(ds.to(q.dtype)), q, WIDE)
    dk = dk * sm_scale
    tl.store(dk_ptr + base + n[:, None] * D + d[None, :], dk.to(dk_ptr.dtype.element_ty), mask=col_mask)
    tl.store(dv_ptr + base + n[:, None] * D + d[None, :], dv.to(dv_ptr.dtype.element_ty), mask=col_mask)


@triton.jit
def _backward_q(q_ptr, k_ptr, v_ptr, do_ptr, lse_ptr, delta_ptr, dq_ptr, heads,
                qk_scale, out_scale, s_b, s_h, s_l, s_d, length: tl.constexpr,
                D: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_D: tl.constexpr,
                WIDE: tl.constexpr):
    # one block of queries: walks the blocks of keys
    block = tl.program_id(0)
    head = tl.program_id(1)
    base = head * length * D
    do_base = (head // heads) * s_b + (head % heads) * s_h
    m = block * BLOCK_M + tl.arange(0, BLOCK_M)
    d = tl.arange(0, BLOCK_D)
    row_mask = (m < length)[:, None] & (d < D)[None, :]
    q = tl.load(q_ptr + base + m[:, None] * D + d[None, :], mask=row_mask, other=0.0)
    do = tl.load(do_ptr + do_base + m[:, None] * s_l + d[None, :] * s_d, mask=row_mask, other=0.0)
    lse = tl.load(lse_ptr + head * length + m, mask=m < length, other=0.0)
    delta = tl.load(delta_ptr + head * length + m, mask=m < length, other=0.0)
    dq = tl.zeros([BLOCK_M, BLOCK_D], dtype=tl.float32)
    for start in range(0, length, BLOCK_N):  # blocks past the diagonal add nothing
        n = start + tl.arange(0, BLOCK_N)
        col_mask = (n < length)[:, None] & (d < D)[None, :]
        k = tl.load(k_ptr + base + n[:, None] * D + d[None, :], mask=col_mask, other=0.0)
        v = tl.load(v_ptr + base + n[:, None] * D + d[None, :], mask=col_mask, other=0.0)
        s = _dot(q, tl.trans(k), WIDE) * qk_scale
        seen = (m[:, None] >= n[None, :]) & (m < length)[:, None] & (n < length)[None, :]
        p = tl.exp2(tl.where(seen, s - lse[:, None], float("-inf")))
        dp = _dot(do, tl.trans(v), WIDE)
        ds = p * (dp - delta[:, None])
        dq += _dot(ds.to(k.dtype), k, WIDE)
    dq = dq * out_scale
    tl.store(dq_ptr + base + m[:, None] * D + d[None, :], dq.to(dq_ptr.dtype.element_ty), mask=row_mask)


class CausalAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx, q, k, v, fault):
        q, k, v = q.contiguous(), k.contiguous(), v.contiguous()
        batch, heads, length, dim = q.shape
        o = torch.empty_like(q)
        lse = torch.empty(batch * heads, length, dtype=torch.float32, device=q.device)
        block_d = max(16, triton.next_power_of_2(dim))
        grid = (triton.cdiv(length, BLOCK), batch * heads)
        _forward[grid](q, k, v, o, lse, LOG2E / math.sqrt(dim),
                       length=length, D=dim, BLOCK_M=BLOCK, BLOCK_N=BLOCK, BLOCK_D=block_d, WIDE=INTERPRETED)
        ctx.save_for_backward(q, k, v, o, lse)
        ctx.fault = fault
        return o

    @staticmethod
    def backward(ctx, do):
        q, k, v, o, lse = ctx.saved_tensors
        batch, heads, length, dim = q.shape
        if 0 in do.stride():  # an expanded gradient, as from .sum()
            do = do.contiguous()
        dq, dk, dv = torch.empty_like(q), torch.empty_like(k), torch.empty_like(v)
        delta = torch.empty_like(lse)
        block_d = max(16, triton.next_power_of_2(dim))
        sm_scale = 1 / math.sqrt(dim)
        grid = (triton.cdiv(length, BLOCK), batch * heads)
        delta_strides = o.stride() if ctx.fault == "delta_read_with_strides_of_o" else do.stride()
        _delta[grid](o, do, delta, heads, length, *delta_strides, D=dim, BLOCK_M=BLOCK, BLOCK_D=block_d)
        _backward_kv[grid](q, k, v, do, lse, delta, dk, dv, heads, sm_scale * LOG2E, sm_scale, *do.stride(),
                           DELTA_ON_DIAGONAL_ONLY=ctx.fault == "dk_delta_lost_off_diagonal",
                           length=length, D=dim, BLOCK_M=BLOCK, BLOCK_N=BLOCK, BLOCK_D=block_d, WIDE=INTERPRETED)
        dq_scale = 1 / math.sqrt(block_d) if ctx.fault == "dq_scale_of_padded_head_dim" else sm_scale
        _backward_q[grid](q, k, v, do, lse, delta, dq, heads, sm_scale * LOG2E, dq_scale, *do.stride(),
                          length=length, D=dim, BLOCK_M=BLOCK, BLOCK_N=BLOCK, BLOCK_D=block_d, WIDE=INTERPRETED)
        return dq, dk, dv, None


def case(fault: str, device: str = "cuda", *, batch: int = 2, heads: int = 3, length: int | None = None,
         dim: int = 60) -> dict:
    if fault and fault not in FAULTS:
        raise ValueError(f"no such fault: {fault!r}")
    if length is None:
        length = 77 if device == "cpu" else 173
    gen = torch.Generator().manual_seed(11)
    q, k, v = (torch.randn(batch, heads, length, dim, generator=gen) for _ in range(3))
    v[:, :, :8] *= 0.1  # the first tokens are seen by all the others and say little
    q, k, v = (x.to(device, torch.bfloat16).requires_grad_() for x in (q, k, v))

    def merge(o):  # (batch, length, heads * dim), what the output projection takes: the gradient comes back transposed
        return o.transpose(1, 2).reshape(o.shape[0], o.shape[2], -1)

    def reference(q, k, v):
        n = q.shape[2]
        s = q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])
        future = torch.ones(n, n, dtype=torch.bool, device=q.device).triu(1)
        return merge(torch.softmax(s.masked_fill(future, float("-inf")), -1) @ v)

    def candidate(q, k, v):
        return merge(CausalAttention.apply(q, k, v, fault))

    return {"reference": reference, "candidate": candidate, "inputs": (q, k, v)}
