"""WP204 and WP205: units that pass no gradient, because their activation is flat where they are."""

from __future__ import annotations

from collections.abc import Callable

from scipy import special

from wellposed.backends.measured import Flatness, Operation
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.rules.signals import DEAD, SATURATED
from wellposed.signals.trace import Trace

_CHANCE = 1e-6
_SHARE_DEAD = 0.75
_HALF, _NEARLY_ALL = 0.5, 0.9
_SHARP, _ONE_HOT = 0.2, 0.05  # entropy of attention over that of uniform attention


def check(trace: Trace, after_a_step: Callable[[], Trace]) -> list[Finding]:
    return [_dead(trace, after_a_step), _saturated(trace)]


def _dead(trace: Trace, after_a_step: Callable[[], Trace]) -> Finding:
    seen = [
        (index, operation)
        for index, operation in enumerate(trace.operations)
        if operation.flat and not operation.flat.bounded
    ]
    if not seen:
        return DEAD.not_applicable("No activation with a flat side was seen.")
    worst, operation = max(
        seen, key=lambda pair: (_verdict(pair[1].flat) is not Verdict.HOLDS, pair[1].flat.units if pair[1].flat else 0)
    )
    flat = operation.flat
    assert flat is not None
    dead = round(flat.units * flat.count)
    evidence = (
        Evidence(
            "units dead for the whole batch",
            dead,
            operation.name,
            unit=f"of {flat.count}",
            reference=f"below {_SHARE_DEAD:.0%}",
        ),
    )
    verdict = _verdict(flat)
    if verdict is Verdict.HOLDS:
        return DEAD.holds(evidence)
    later = after_a_step().operations
    if len(later) == len(trace.operations):  # what starts at zero on purpose may wake up
        again = _verdict(later[worst].flat)
        if again is Verdict.HOLDS:
            return DEAD.holds(evidence)
    where = _layer(trace, worst, operation)
    if verdict is Verdict.FAILS and any(site.reader == worst for site in trace.trunk):
        text = (
            f"All {flat.count} units behind `{where}` are dead: {operation.function} is flat wherever the batch puts"
            " them."
        )
    else:
        verdict = Verdict.SUSPECT
        text = (
            f"{flat.units:.0%} of the {flat.count} units behind `{where}` are dead: {operation.function} is flat for"
            " them on every row."
        )
    return DEAD.found(verdict, text, where=where, cause="", evidence=evidence)


def _verdict(flat: Flatness | None) -> Verdict:
    """Half of the units may be off for one batch by chance alone: beyond what a fair coin would do, and three quarters,
    it is suspect.
    """
    if flat is None:
        return Verdict.HOLDS
    dead = round(flat.units * flat.count)
    chance = float(special.bdtrc(dead - 1, flat.count, 0.5)) if dead else 1.0
    if flat.units < _SHARE_DEAD or chance > _CHANCE:
        return Verdict.HOLDS
    return Verdict.FAILS if dead == flat.count else Verdict.SUSPECT


def _layer(trace: Trace, index: int, operation: Operation) -> str:
    """The weighted layer that the activation reads, which is what its owner knows by name; else the activation."""
    return next((site.name for site in trace.sites if site.reader == index), operation.name)


def _saturated(trace: Trace) -> Finding:
    found = _sharp(trace)
    units = _units(trace)
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
    if worst is None or worst.entropy is None or worst.entropy > _SHARP:
        return None
    evidence = (
        Evidence(
            "entropy of the attention over that of uniform attention", worst.entropy, worst.name, reference="0.2 to 1"
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
    where = _layer(trace, index, operation)
    evidence = (
        Evidence(
            "entries where the slope is below a hundredth of its steepest", flat.entries, where, reference="below 0.5"
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
