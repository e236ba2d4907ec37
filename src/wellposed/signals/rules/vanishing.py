"""WP201: vanishing gradient."""

from __future__ import annotations

from typing import Any

from wellposed.findings import Evidence, Finding, Verdict
from wellposed.numerics.floats import format_of
from wellposed.rule import Rule
from wellposed.signals.along_depth import FAILS, KEPT, ONE_STEP, SUSPECT, judge_change, tell
from wellposed.signals.backward import Backward
from wellposed.signals.rules.dead import DEAD
from wellposed.signals.rules.words import CAUSES, INITIALIZE, SCHOENHOLZ, SKIP
from wellposed.signals.site import Site
from wellposed.signals.trace import Trace

_FADED = 1e-30  # a gradient as small is on its way to 0, and not cut
_NEAR, _MOSTLY = 16, 0.5  # times the smallest number of the dtype; share of the gradient's entries that are 0

VANISHING = Rule(
    id="WP201",
    subject="signals",
    priority=220,
    follows=("WP302", "WP303", "WP301", "WP304", "WP203", "WP206", "WP204", "WP205"),
    cause_follows={"dead": ("WP304", "WP204"), "detached": ("WP403", "WP505", "WP501")},
    title="vanishing gradient",
    claim="The gradient that reaches the first layer is not vanishingly small beside that of the last.",
    judged=(
        "The gradient with respect to each layer's pre-activation (after a normalisation that follows it), as the norm"
        " per example, along the places that every way from an input to the loss passes; first over last but the"
        f" output, whose size is a choice: free of the loss's scale. Below {1 / FAILS:g} it fails: of the plain"
        " networks that `make bench-trainability` trains, SGD brought none of those to 0.9 accuracy and Adam less than"
        f" half. Below {1 / SUSPECT:g} it is suspect; of a single step {ONE_STEP:g} times that is asked. A gradient"
        " that is exactly zero is looked at again after one small step, since zero-initialised branches and heads"
        " start so. It fails too where most of the first layer's gradient is lost to its dtype."
    ),
    causes=CAUSES,
    remedies=(INITIALIZE, SKIP),
    references=(SCHOENHOLZ, "Glorot & Bengio 2010"),
    needs=("loss", "gradient", "layers"),
    figures=("depth", "spectrum"),
    judge=lambda measured: judge(measured),
    treatment="initialize",
)


def judge(measured: Any) -> Finding:
    trace: Trace = measured.trace
    back: Backward = measured.backward
    if back.broken is not None:
        text = f"The gradient at `{back.broken.name}` is NaN or infinite. Sizes cannot be compared."
        return VANISHING.undecided(text)
    left_open = back.leave_open(VANISHING)
    if left_open is not None:
        return left_open
    if back.silent:
        return _silent(back, trace.dtype, dead=measured.fails(DEAD))
    course = back.course(trace)
    lost = _lost(back.sites[0], trace.dtype)
    if lost and 1 / course.along.total <= FAILS:
        where = back.sites[0].name
        return VANISHING.found(Verdict.FAILS, lost, where=where, cause="dtype", evidence=course.evidence)
    verdict = judge_change(1 / course.along.total, len(course.along.factors))
    if verdict is Verdict.HOLDS:
        return VANISHING.holds(course.evidence)
    return tell(VANISHING, verdict, course, trace)


def _silent(back: Backward, dtype: str, *, dead: bool) -> Finding:
    """`dead`: whether all units of a layer are, so that nothing passes it."""
    first, last = back.first, back.sites[-1]
    assert first is not None
    text = f"No gradient reaches `{first.name}`{back.later}, while `{last.name}` has one: it is exactly zero."
    faded = min(site.gradient for site in back.sites) < _FADED
    text += f" On the way it has become smaller than {dtype} can hold." if faded else ""
    cause = "dtype" if faded else "dead" if dead else "detached"
    return VANISHING.found(Verdict.FAILS, text, where=first.name, cause=cause, evidence=zero_over_last(first))


def zero_over_last(first: Site) -> tuple[Evidence, ...]:
    return (Evidence("gradient norm, first layer over last", 0.0, first.name, reference=KEPT),)


def _lost(site: Site, dtype: str) -> str:
    """What is to be said where most of a site's gradient is smaller than the smallest number of its dtype, else
    nothing.
    """
    if dtype not in ("float16", "bfloat16", "float32") or site.place.gradient is None:
        return ""
    smallest, size = format_of(dtype).smallest, site.place.gradient.rms
    if not (0 < size < _NEAR * smallest and site.place.gradient.zeros > _MOSTLY):
        return ""
    here = f"The gradient at `{site.name}` is {size:.2g} in root mean square"
    return f"{here}, and the smallest number of {dtype} is {smallest:.2g}: most of it has become 0."
