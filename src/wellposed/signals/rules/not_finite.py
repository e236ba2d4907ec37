"""WP207: the first operation that made NaN or infinity, and why, from what went in."""

from __future__ import annotations

from typing import Any

import numpy as np

from wellposed.backends.measured import NotFinite
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.numerics.floats import format_of
from wellposed.numerics.theta import finite_gradient
from wellposed.rule import Cause, Rule

_LOGARITHMS = ("log", "log2", "log10", "log1p", "xlogy")
_DIVISIONS = ("div", "true_divide", "divide", "reciprocal", "rsqrt", "integer_pow", "remainder")
_EXPONENTIALS = ("exp", "exp2", "expm1", "sinh", "cosh", "logaddexp", "softplus")
_ROOTS = ("sqrt", "rsqrt", "pow", "norm", "linalg_vector_norm", "cbrt", "dist", "cdist")
_SOFTMAXES = ("_softmax", "_log_softmax", "softmax", "log_softmax", "_safe_softmax", "reduce_max")
# What NumPy says.
_SAID = {
    "divide by zero encountered in log": "log-of-zero",
    "divide by zero": "division-by-zero",
    "invalid value encountered in log": "log-of-negative",
    "invalid value encountered in sqrt": "root-of-negative",
    "overflow": "overflow",
    "invalid value encountered in divide": "division-by-zero",
}
_BOUNDED = ("acos", "asin", "atanh", "acosh", "erfinv", "logit")


NOT_FINITE = Rule(
    id="WP207",
    subject="signals",
    priority=170,
    follows=("WP104", "WP101", "WP102", "WP303", "WP301", "WP304", "WP305", "WP306", "WP402"),
    title="first operation that made NaN or infinity",
    claim="The loss and every gradient are finite.",
    judged=(
        "Where the loss or a gradient is NaN or infinite it fails. Every operation of both passes is then watched, "
        "and the first on the way that made such a number of finite ones is named, with what went in. Minus infinity "
        "that a mask was filled with is no fault; what makes NaN of it is."
    ),
    causes=(
        Cause("log-of-zero", "A probability or a distance underflowed to 0 before its logarithm was taken.",
              remedies=(Remedy("Take the logarithm where the probability is made", "F.log_softmax(z, dim=-1)"),)),
        Cause("log-of-negative", "Rounding, or a missing activation, let a number below 0 into a logarithm.",
              remedies=(Remedy("Bound it from below by what the dtype resolves",
                               "x.clamp_min(torch.finfo(x.dtype).tiny).log()"),)),
        Cause("division-by-zero", "A norm, a count or a standard deviation was 0.",
              remedies=(Remedy("Divide by a number that cannot be 0", "x / n.clamp_min(1)"),)),
        Cause("overflow", "A number grew beyond what the dtype can carry.",
              remedies=(Remedy("Subtract the largest first, as logsumexp does, or compute this in float32"),)),
        Cause("root-at-zero", "The slope of a square root, and of a norm, at exactly 0 is infinite; times 0 it is NaN.",
              remedies=(Remedy("Keep it away from 0 inside the root", "torch.sqrt(x + eps)  # not sqrt(x) + eps"),)),
        Cause("root-of-negative", "Rounding made a number that cannot be negative so.",
              remedies=(Remedy("Bound it from below", "x.clamp_min(0)"),)),
        Cause("masked-row", "Everything in a row of attention scores is masked.",
              remedies=(Remedy("Leave one position open, or set such rows to 0",
                               "torch.where(mask.any(-1, keepdim=True), p, 0)"),)),
        Cause("out-of-domain", "An inverse function was asked beyond its ends, or for its slope there.",
              remedies=(Remedy("Stay inside by a little", "x.clamp(-1 + eps, 1 - eps)"),)),
        Cause("one-value", "A variance with n - 1 of a single value.",
              remedies=(Remedy("Divide by n, or give more values", "x.var(unbiased=False)"),)),
    ),
    remedies=(Remedy("Look at what goes into the operation named"),),
    needs=("loss", "gradient"),
    judge=lambda measured: judge(measured),
)  # fmt: skip


def judge(measured: Any) -> Finding:
    if np.isfinite(measured.loss) and finite_gradient(measured.gradient):
        return NOT_FINITE.holds()
    found = measured.first_not_finite
    return _came_in(measured.holds_not_finite()) if found is None else _made(found)


def _made(found: NotFinite) -> Finding:
    """By an operation, of finite numbers."""
    cause, why = _cause(found)
    place = f" in `{found.where}`" if found.where else ""
    line = f" ({found.line})" if found.line else ""
    way = "backward" if found.backward else "forward"
    text = f"In the {way} pass `{found.operation.lstrip('_')}`{place} is the first to make {found.made}{line}. {why}"
    evidence = tuple(
        Evidence(f"{bound} number that went in", number, found.where or found.operation.lstrip("_"))
        for operand in found.operands[:1]
        for bound, number in (("smallest", operand.low), ("largest", operand.high))
        if np.isfinite(number)
    )
    return NOT_FINITE.found(
        Verdict.FAILS, text, where=found.where or found.operation.lstrip("_"), cause=cause, evidence=evidence
    )


def _came_in(where: str) -> Finding:
    """For NaN or infinity that no operation made of finite numbers; `where` is what holds it ("" where that is not
    known).
    """
    of = f"it came in with `{where}`" if where else "where it came from is not known"
    text = (
        f"The loss or a gradient is NaN or infinite, and no operation that was watched made it of finite numbers: {of}."
    )
    return NOT_FINITE.found(Verdict.FAILS, text, where=where, cause="")


def _cause(found: NotFinite) -> tuple[str, str]:
    """A named cause and a sentence; ("", what went in) where no cause is known."""
    name = found.operation.removesuffix("Backward").lower() if found.backward else found.operation.lower()
    arrays = [operand for operand in found.operands if operand.dtype]
    first = arrays[0] if arrays else None
    if first is None:
        cause = next((cause for words, cause in _SAID.items() if words in found.operation), "")
        return cause, "What went in is not known."
    said = "" if found.backward else f" Its input runs from {first.low:.3g} to {first.high:.3g}."
    if any(operand.masked for operand in arrays) and (_is(name, _SOFTMAXES) or found.made == "NaN"):
        return "masked-row", "A whole row is masked: minus infinity everywhere, and a softmax of that is 0/0."
    if found.backward and _is(name, (*_ROOTS, "cdist")):
        return "root-at-zero", f"The slope of a root or a norm is infinite at 0, and it is taken there.{said}"
    if _is(name, _LOGARITHMS):
        if found.backward:
            return "log-of-zero", f"The slope of a logarithm is infinite at 0.{said}"
        negative = first.low < (-1 if name == "log1p" else 0)
        return (
            ("log-of-negative", f"The logarithm of a negative number.{said}")
            if negative
            else ("log-of-zero", f"The logarithm of 0.{said}")
        )
    if _is(name, _BOUNDED):
        return "out-of-domain", f"It is not defined there, or its slope is infinite.{said}"
    if _is(name, ("sqrt", "rsqrt", "pow")) and first.low < 0 and found.made == "NaN":
        return "root-of-negative", f"The root of a negative number.{said}"
    divisor = found.operands[1] if len(found.operands) > 1 else first
    if _is(name, _DIVISIONS) and (divisor.zeros or (first.zeros and len(found.operands) < 2)):
        both = found.made == "NaN" and first.zeros
        return (
            "division-by-zero",
            f"{'0 / 0' if both else 'A division by 0'}: {divisor.zeros} of {divisor.size} divisors are 0.",
        )
    if _is(name, ("var", "std", "var_mean", "std_mean")) and found.made == "NaN":
        return "one-value", "The variance of one value, divided by n - 1 = 0."
    limit = format_of(first.dtype).max
    if found.made == "NaN" and max(abs(first.low), abs(first.high)) > limit**0.5:
        return "overflow", f"The square of what went in is beyond {first.dtype}, which ends at {limit:.4g}.{said}"
    if found.made == "infinity" or _is(name, _EXPONENTIALS):
        if _is(name, _EXPONENTIALS):
            return "overflow", f"An exponential overflows: {first.dtype} ends at {np.log(limit):.4g}.{said}"
        return "overflow", f"The result is beyond {first.dtype}, which ends at {limit:.4g}.{said}"
    return "", said.strip()


def _is(name: str, names: tuple[str, ...]) -> bool:
    return any(name == known or name in (f"{known}0", f"linalg{known}", f"linalgvector{known}") for known in names)
