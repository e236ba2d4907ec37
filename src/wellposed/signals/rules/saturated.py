"""WP205: saturated units."""

from __future__ import annotations

from typing import Any

from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.rule import Cause, Rule
from wellposed.signals.rules.words import INITIALIZE
from wellposed.signals.trace import Trace
from wellposed.signals.units import find_layer

_HALF, _NEARLY_ALL = 0.5, 0.9
_SHARP, _ONE_HOT = 0.2, 0.05  # entropy of attention over that of uniform attention

SATURATED = Rule(
    id="WP205",
    subject="signals",
    priority=210,
    follows=("WP101", "WP102", "WP304", "WP303", "WP301"),
    title="saturated units",
    claim="Activations that are flat on both sides get most of what they read where they have a slope.",
    judged=(
        "The share of entries at which the slope is below a hundredth of its steepest: for tanh beyond about 3, for"
        f" sigmoid about 6. Above {_HALF:g} it is suspect, above {_NEARLY_ALL:g} it fails; at the very output it is"
        " suspect at most. Of attention the entropy of its rows over that of uniform attention: below"
        f" {_SHARP:g} it is suspect, below {_ONE_HOT:g} it fails."
    ),
    causes=(
        Cause(
            "inputs-too-large",
            "The weights, or the inputs of the network, are too large for this activation.",
            "Compare the standard deviation of what goes in with 1.",
            (INITIALIZE, Remedy("Normalise the inputs", "wp.Standardizer().fit(x)")),
            treatment="initialize",
        ),
        Cause(
            "attention-not-scaled",
            "The scores of an attention are so large that its softmax is almost an argmax: they are not divided, or"
            " queries and keys are too large.",
            "Compare the standard deviation of the scores with 1.",
            (
                Remedy(
                    "Divide the scores by the square root of the key's size",
                    "scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])",
                ),
            ),
        ),
    ),
    references=("Glorot & Bengio 2010", "Vaswani et al. 2017, section 3.2.1"),
    needs=("loss", "gradient", "layers"),
    judge=lambda measured: judge(measured),
)


def judge(measured: Any) -> Finding:
    found = _sharp(measured.trace)
    units = _units(measured.trace)
    if (
        found is None
        or units.verdict is Verdict.FAILS
        or (units.verdict is Verdict.SUSPECT and found.verdict is Verdict.SUSPECT)
    ):
        return units
    return found


def _sharp(trace: Trace) -> Finding | None:
    """Attention whose softmax is at its end: each query reads one key, and no gradient says which other would have been
    better.
    """
    seen = [operation for operation in trace.operations if operation.entropy is not None]
    worst = min(seen, key=lambda operation: operation.entropy or 0.0, default=None)
    if worst is None or worst.entropy is None or not worst.entropy <= _SHARP:  # NaN is another rule's
        return None
    evidence = (
        Evidence(
            "entropy of the attention over that of uniform attention",
            worst.entropy,
            worst.name,
            reference=f"{_SHARP:g} to 1",
        ),
    )
    text = (
        f"The attention in `{worst.name}` reads almost one key alone: the entropy of its rows is {worst.entropy:.2g} of"
        " that of uniform attention. Scores q.k of unit variance have a deviation of sqrt(d); a softmax of such"
        " numbers is flat."
    )
    verdict = Verdict.FAILS if worst.entropy < _ONE_HOT else Verdict.SUSPECT
    return SATURATED.found(verdict, text, where=worst.name, cause="attention-not-scaled", evidence=evidence)


def _units(trace: Trace) -> Finding:
    seen = [
        (index, operation)
        for index, operation in enumerate(trace.operations)
        if operation.flat and operation.flat.bounded
    ]
    if not seen:
        return SATURATED.not_applicable("No activation that saturates was seen.")
    index, operation = max(seen, key=lambda pair: pair[1].flat.entries if pair[1].flat else 0.0)
    flat = operation.flat
    assert flat is not None
    where = find_layer(trace, index, operation)
    evidence = (
        Evidence(
            "entries where the slope is below a hundredth of its steepest",
            flat.entries,
            where,
            reference=f"below {_HALF:g}",
        ),
    )
    if flat.entries <= _HALF:
        return SATURATED.holds(evidence)
    last = not any(index in later.inputs for later in trace.operations[index + 1 :])
    verdict = Verdict.FAILS if flat.entries > _NEARLY_ALL and not last else Verdict.SUSPECT
    site = next((site for site in trace.sites if site.reader == index), None)
    size = f" What goes in has a root mean square of {site.forward.rms:.3g}." if site is not None else ""
    text = f"{flat.entries:.0%} of what goes into {operation.function} behind `{where}` lies where it is flat.{size}"
    return SATURATED.found(verdict, text, where=where, cause="inputs-too-large", evidence=evidence)
