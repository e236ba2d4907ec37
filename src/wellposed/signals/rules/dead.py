"""WP204: dead units."""

from __future__ import annotations

from typing import Any

from scipy import special

from wellposed.backends.measured import Flatness
from wellposed.findings import Evidence, Finding, Verdict
from wellposed.rule import Rule
from wellposed.signals.rules.words import ALIVE
from wellposed.signals.trace import Trace
from wellposed.signals.units import find_layer

_SHARE_DEAD = 0.75
_CHANCE = 1e-6  # that fair coins would leave as many units off

DEAD = Rule(
    id="WP204",
    subject="signals",
    priority=200,
    follows=("WP304", "WP101", "WP102", "WP303", "WP301"),
    title="dead units",
    claim="No layer has lost most of its units to the flat side of its activation.",
    judged=(
        "A unit is dead if its activation's slope stays below a hundredth of its steepest on every row of the batch."
        f" {100 * _SHARE_DEAD:g} % of a layer, where that is beyond what fair coins would do (a chance of {_CHANCE:g}),"
        " is suspect; all of a layer that every way passes fails. Looked at again after one small step, since what"
        " starts at zero may wake up."
    ),
    causes=(),
    remedies=ALIVE,
    references=("Lu, Shin, Su, Karniadakis 2019, arXiv 1903.06733",),
    needs=("loss", "gradient", "layers"),
    judge=lambda measured: judge(measured),
    treatment="initialize",
)


def judge(measured: Any) -> Finding:
    trace: Trace = measured.trace
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
    later = measured.trace_after(1).operations
    if len(later) == len(trace.operations):  # what starts at zero on purpose may wake up
        again = _verdict(later[worst].flat)
        if again is Verdict.HOLDS:
            return DEAD.holds(evidence)
    where = find_layer(trace, worst, operation)
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
