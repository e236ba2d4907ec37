"""What a check can say: frozen values that know nothing of how they were found or how they are shown."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from wellposed.figures import Figure

SCHEMA = 1


class Verdict(Enum):
    """One of five words. `undecided`: the measurement could not tell, and says why; `not applicable`: there is nothing
    here to judge.
    """

    HOLDS = "holds"
    SUSPECT = "suspect"
    FAILS = "fails"
    UNDECIDED = "undecided"
    NOT_APPLICABLE = "not applicable"


GRAVITY = (Verdict.FAILS, Verdict.SUSPECT, Verdict.UNDECIDED, Verdict.HOLDS, Verdict.NOT_APPLICABLE)
"""The verdicts, the gravest first."""


@dataclass(frozen=True, slots=True)
class Evidence:
    """One measured number behind a verdict.

    `reference` says in words what a sound problem would show, `error` is the measurement's own
    error in the unit of `value` (None where the value is exact), `how` says how it was measured.
    """

    quantity: str
    value: float
    where: str = ""
    unit: str = ""
    reference: str = ""
    error: float | None = None
    how: str = ""


@dataclass(frozen=True, slots=True)
class Remedy:
    """What to do: a title, the lines to paste, the learning rate that is asked for (where one is), and (once tried) the
    measure before and after.
    """

    title: str
    code: str = ""
    before: float | None = None
    after: float | None = None
    rate: float | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """A rule's verdict at a place whose name the user knows, such as `layers.3.weight[12, 7]`.

    `follows` is the rule of which this is only a consequence, as far as is known: mend that first. `places` are the
    entries, rows or slices at fault where they are known, each as a user writes it: `W1[123, 45]`, `W1[2, :]`.
    """

    rule: str
    verdict: Verdict
    message: str
    title: str = ""
    where: str = ""
    cause: str = ""
    evidence: tuple[Evidence, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    follows: str = ""
    places: tuple[str, ...] = ()

    @property
    def found(self) -> bool:
        """Whether something was found: `fails` or `suspect`."""
        return self.verdict in (Verdict.FAILS, Verdict.SUSPECT)


PlaceOf = Callable[[Finding], tuple[str, int]]
"""The file and the line in it, from 1 on, that a finding is about."""


def merge_worse(findings: Sequence[Finding], later: Sequence[Finding], prefix: str) -> list[Finding]:
    """What holds, holds in both; what does not hold later is added with the prefix."""
    worse = [replace(f, message=prefix + f.message) for f in later if f.verdict is not Verdict.HOLDS]
    told = {finding.rule for finding in worse}
    return [f for f in findings if f.verdict is not Verdict.HOLDS or f.rule not in told] + worse


@dataclass(frozen=True, slots=True)
class Summary:
    """What was checked: the framework, its size, its dtype and the loss at the point checked.

    `loss` is None where no loss was evaluated, as for plain data. `checked_in` is the dtype of the copy on which the
    gradient was checked, where that is another one, and `coarse` why there was none in float64; `later` says after how
    many steps it was looked at again.
    """

    backend: str
    parameters: int = 0
    tensors: int = 0
    dtype: str = ""
    loss: float | None = None
    checked_in: str = ""
    later: str = ""
    coarse: str = ""


@dataclass(frozen=True)
class Record:
    """Everything that a check established, in the order in which a person should read it."""

    problem: Summary
    findings: tuple[Finding, ...]
    evaluations: int = 0
    seconds: float = 0.0
    figures: tuple[Figure, ...] = ()

    @property
    def ok(self) -> bool:
        """True when nothing fails; `suspect` and `undecided` are for a person to weigh."""
        return not any(finding.verdict is Verdict.FAILS for finding in self.findings)

    def count(self, verdict: Verdict) -> int:
        return sum(finding.verdict is verdict for finding in self.findings)

    @property
    def roots(self) -> tuple[tuple[Finding, tuple[Finding, ...]], ...]:
        """What was found and follows from nothing else, each with what follows from it; of several of one rule the
        first has it all.
        """
        told: dict[str, Finding] = {}
        found = [finding for finding in self.findings if finding.found]
        roots = [finding for finding in found if not finding.follows]
        return tuple(
            (
                root,
                tuple(f for f in found if f.follows == root.rule) if told.setdefault(root.rule, root) is root else (),
            )
            for root in roots
        )

    @property
    def noted(self) -> tuple[Finding, ...]:
        """What holds, but for something that a person should know of: a gradient that leaves out what is cut on
        purpose.
        """
        return tuple(finding for finding in self.findings if finding.verdict is Verdict.HOLDS and finding.cause)

    @property
    def undecided(self) -> dict[str, list[Finding]]:
        """What is undecided, by the reason."""
        return self._by_reason(Verdict.UNDECIDED)

    @property
    def not_applicable(self) -> dict[str, list[Finding]]:
        """What there is nothing to judge for, by the reason."""
        return self._by_reason(Verdict.NOT_APPLICABLE)

    def _by_reason(self, verdict: Verdict) -> dict[str, list[Finding]]:
        reasons: dict[str, list[Finding]] = {}
        for finding in self.findings:
            if finding.verdict is verdict:
                reasons.setdefault(finding.message, []).append(finding)
        return reasons
