"""The five subjects and the objective: which rules are judged of a session, and how often."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from wellposed.catalogue import CATALOGUE
from wellposed.checks.session import Session
from wellposed.findings import GRAVITY, Finding, Verdict, merge_worse
from wellposed.gradients.rules.wrong import WRONG
from wellposed.inputs.features import as_array, features_of
from wellposed.inputs.measured import MeasuredInputs
from wellposed.numerics.arrays import Array
from wellposed.rule import Rule
from wellposed.signals.rules.saturated import SATURATED

NO_LAYERS = "This problem shows no layers: it is given by its value and gradient alone."

Judge = Callable[[Session, Sequence[Rule], bool], list[Finding]]


def judge_each(session: Session, rules: Sequence[Rule], _failing: bool) -> list[Finding]:
    return [finding for rule in rules for finding in session.findings_of(rule)]


def judge_inputs(session: Session, rules: Sequence[Rule], _failing: bool) -> list[Finding]:
    """Of several input arrays each is judged, and of each rule what is worst is told."""
    named = session.problem.network.named_inputs().items()
    arrays = {name: as_array(data, "the inputs") for name, data in named if data.ndim}  # a count beside them is no data
    varying = {name: array for name, array in arrays.items() if array.size and (array != array.flat[0]).any()}
    if varying:  # what is one number throughout, as a mask of ones or a first state is, is no data beside what varies
        arrays = varying
    if not arrays:
        text = "This problem does not show its inputs; wp.check_inputs(x) takes them directly."
        return [rule.not_applicable(text) for rule in rules]
    told = [_of_array(session, rules, name, array) for name, array in arrays.items()]
    return [min(same, key=lambda finding: GRAVITY.index(finding.verdict)) for same in zip(*told, strict=True)]


def _of_array(session: Session, rules: Sequence[Rule], name: str, array: Array) -> list[Finding]:
    if array.dtype.kind in "iub" and array.dtype.itemsize > 1:
        text = "The inputs are whole numbers, read as indices or counts: their scale means nothing."
        return [rule.not_applicable(text) for rule in rules]
    run = None if session.raised or session.backward_raised else session.run
    first = run.operations[0] if run is not None and run.operations else None
    conv = first is not None and first.kind == "conv" and array.ndim > 2
    features = replace(features_of(array, session.problem.network.channel_axis if conv else None), label=name)
    normalised = ""
    if first is not None and not first.inputs and first.kind == "norm":
        normalised = f"The model's first operation, {first.name}, normalises its inputs."
    return judge_array(MeasuredInputs(features, normalised), rules)


def judge_array(measured: MeasuredInputs, rules: Sequence[Rule]) -> list[Finding]:
    return [finding for rule in rules for finding in rule.findings(measured)]


def judge_signals(session: Session, rules: Sequence[Rule], failing: bool) -> list[Finding]:
    """Here and, where that is asked for, again after some steps: what fails only there is added (units that are sure of
    themselves by then are no fault).
    """
    findings = judge_each(session, rules, failing)
    if not session.steps or failing or any(finding.verdict is Verdict.FAILS for finding in findings):
        return findings  # what fails already is to be mended first: what it leads to tells nothing new
    steps, later = session.later
    known = {finding.rule for finding in findings if finding.found} | {SATURATED.id}
    again = judge_each(later, [rule for rule in rules if leave_open(rule, later) is None], failing)
    added = [finding for finding in again if finding.verdict is Verdict.FAILS and finding.rule not in known]
    return merge_worse(findings, added, f"After {steps} steps: ")


def judge_forward_mode(session: Session, _rules: Sequence[Rule], _failing: bool) -> list[Finding]:
    return session.forward_check.findings


def leave_open(rule: Rule, session: Session, raised: str = "") -> Finding | None:
    """A rule's finding where something is missing that it needs: a loss (`raised` is what it raises), a gradient,
    layers; None where nothing is.
    """
    if raised and "loss" in rule.needs:
        return rule.undecided(f"The loss has no value: it raised {raised}.")
    if "gradient" in rule.needs and session.backward_raised:
        return rule.undecided(f"There is no gradient: the backward pass raises {session.backward_raised}.")
    if "layers" in rule.needs and (session.run is None or session.trace is None):
        return rule.not_applicable(NO_LAYERS)
    return None


@dataclass(frozen=True)
class Subject:
    """Its rules, and how they are judged; `judge` is told whether anything has failed before."""

    name: str
    judge: Judge = judge_each
    only: Rule | None = None

    @property
    def rules(self) -> tuple[Rule, ...]:
        """Those of the catalogue that a check-up judges."""
        if self.only is not None:
            return (self.only,)
        return tuple(rule for rule in CATALOGUE.values() if rule.subject == self.name and rule.judge is not None)


OBJECTIVE = Subject("objective")
INPUTS = Subject("inputs", judge_inputs)
WEIGHTS = Subject("weights")
SIGNALS = Subject("signals", judge_signals)
GRADIENTS = Subject("gradients")
STEP = Subject("step")
FORWARD_MODE = Subject("gradients", judge_forward_mode, WRONG)
ALL = (OBJECTIVE, INPUTS, WEIGHTS, SIGNALS, GRADIENTS)
