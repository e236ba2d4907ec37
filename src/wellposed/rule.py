"""What a rule is: its words, what it needs, how it judges, and how it is remedied and drawn."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from wellposed.findings import Evidence, Finding, Remedy, Verdict

Subject = Literal["inputs", "signals", "weights", "objective", "gradients", "step"]
Need = Literal["loss", "gradient", "layers"]
Judge = Callable[[Any], Finding | list[Finding]]

NEGLIGIBLE = 0.05
"""Share of a model's parameters below which parameters that do nothing cost next to nothing: a pooler, a head for
another task.
"""


@dataclass(frozen=True, slots=True)
class Cause:
    """A named cause: what it means, how to confirm it, and what to do about it.

    `treatment` names, of `remedies.TREATMENTS`, how the first of its remedies is tried on a copy.
    """

    slug: str
    means: str
    confirm: str = ""
    remedies: tuple[Remedy, ...] = ()
    treatment: str = ""


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the catalogue.

    `claim` is the sentence that `holds` asserts; `judged` says in words how evidence becomes a verdict; `remedies` are
    offered where no cause, or a cause without its own, was found. Findings are told in the order of `priority`, from
    what makes everything behind it meaningless to what only shows it. A finding may be only a consequence of those of
    the rules it `follows`, the likeliest first; of some causes only of those in `cause_follows`.

    `judge` makes findings of what was measured of a problem (`checks.Session`; of inputs one array after the other); it
    is called where everything that the rule `needs` is there, and is None for a rule that a check-up does not judge.
    `treatment` names, of `remedies.TREATMENTS`, how the first remedy is tried on a copy; `figures`, of those that
    `checks.drawing` draws, those that show what the rule saw. What is `full` is asked where no effort is spared.
    """

    id: str
    title: str
    claim: str
    judged: str
    priority: int
    subject: Subject
    judge: Judge | None = None
    needs: tuple[Need, ...] = ()
    follows: tuple[str, ...] = ()
    cause_follows: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    causes: tuple[Cause, ...] = ()
    remedies: tuple[Remedy, ...] = ()
    references: tuple[str, ...] = ()
    treatment: str = ""
    figures: tuple[str, ...] = ()
    full: bool = False

    def findings(self, measured: Any) -> list[Finding]:
        """What the rule judges of what was measured; nothing where a check-up does not ask it."""
        found = [] if self.judge is None else self.judge(measured)
        return [found] if isinstance(found, Finding) else found

    def may_follow(self, cause: str) -> tuple[str, ...]:
        """The rules that a finding of this cause may be a consequence of."""
        return self.cause_follows.get(cause) or self.follows

    def cause(self, slug: str) -> Cause:
        for cause in self.causes:
            if cause.slug == slug:
                return cause
        raise KeyError(f"{self.id} knows no cause {slug!r}")

    def holds(self, evidence: tuple[Evidence, ...] = (), message: str = "") -> Finding:
        return Finding(self.id, Verdict.HOLDS, message or self.claim, self.title, evidence=evidence)

    def undecided(
        self, reason: str, *, where: str = "", evidence: tuple[Evidence, ...] = (), remedies: tuple[Remedy, ...] = ()
    ) -> Finding:
        return Finding(self.id, Verdict.UNDECIDED, reason, self.title, where, "", evidence, remedies)

    def not_applicable(self, reason: str, *, remedies: tuple[Remedy, ...] = ()) -> Finding:
        """There is nothing here for the rule to judge."""
        return Finding(self.id, Verdict.NOT_APPLICABLE, reason, self.title, remedies=remedies)

    def found(
        self, verdict: Verdict, message: str, *, where: str, cause: str = "", evidence: tuple[Evidence, ...] = ()
    ) -> Finding:
        """A finding with the remedies of its cause, or the rule's own. One that holds, with a cause, is a note:
        something to be known.
        """
        remedies = self.cause(cause).remedies if cause else ()
        return Finding(self.id, verdict, message, self.title, where, cause, evidence, remedies or self.remedies)
