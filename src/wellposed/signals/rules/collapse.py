"""WP206: different inputs that end up the same."""

from __future__ import annotations

import numpy as np

from wellposed.findings import Evidence, Finding, Verdict
from wellposed.rule import Cause, Rule
from wellposed.signals.rules.words import INITIALIZE, POOLE, SCHOENHOLZ, SKIP
from wellposed.signals.site import Site
from wellposed.signals.trace import Trace

_SUSPECT, _FAILS = 1e-4, 1e-6


COLLAPSE = Rule(
    id="WP206",
    subject="signals",
    priority=190,
    follows=("WP302", "WP303", "WP301", "WP304", "WP205", "WP204", "WP203"),
    title="different inputs collapse to one output",
    claim="Different inputs are still different at the last hidden layer.",
    judged=(
        "1 minus the mean cosine of different rows at the last hidden layer, over that at the first. Below"
        f" {_SUSPECT:g} it is suspect, below {_FAILS:g} it fails: what the rows have in common is then more than"
        f" {_SUSPECT**-0.5:.0f} and {_FAILS**-0.5:.0f} times larger than what tells them apart."
    ),
    causes=(
        Cause(
            "common-part",
            "The activation's mean, or a bias, adds the same to every row at each layer, and the difference shrinks"
            " beside it.",
            "Subtract the mean over the batch before the next layer and look again.",
            (INITIALIZE, SKIP),
        ),
    ),
    remedies=(INITIALIZE, SKIP),
    references=(POOLE, SCHOENHOLZ),
    needs=("loss", "gradient", "layers"),
    figures=("depth",),
    judge=lambda measured: check_collapse(measured.trace),
    treatment="initialize",
)


def check_collapse(trace: Trace) -> Finding:
    """Judged at the last hidden place of the trunk, beside the first: 1 minus the similarity of different examples."""
    sites = [
        site
        for site in trace.trunk
        if not site.is_output and site.forward.finite and np.isfinite(site.forward.similarity)
    ]
    if len(sites) < 2:
        return COLLAPSE.not_applicable(
            "Fewer than two hidden layers, or fewer than two different rows: nothing to compare."
        )
    first, last = _apart(sites[0]), _apart(sites[-1])
    if not first > 0:
        return COLLAPSE.undecided(f"The rows of the batch give the same output already at `{sites[0].name}`.")
    silent = next((site for site in sites if site.forward.batch_variance == 0), None)
    if silent is not None:
        return COLLAPSE.undecided(f"At `{silent.name}` all rows of the batch give the very same output: see WP203.")
    left = last / first
    evidence = (
        Evidence("similarity of different inputs, first hidden layer", 1 - first, sites[0].name),
        Evidence(
            "similarity of different inputs, last hidden layer",
            1 - last,
            sites[-1].name,
            reference=f"below {1 - _SUSPECT:g}",
        ),
    )
    if left >= _SUSPECT:
        return COLLAPSE.holds(evidence)
    where = _where(sites)
    verdict = Verdict.FAILS if left < _FAILS else Verdict.SUSPECT
    text = (
        f"Different inputs give nearly the same at `{sites[-1].name}`: what tells two of them apart is "
        f"{np.sqrt(last):.2g} of their size there, and {np.sqrt(first):.2g} at `{sites[0].name}`."
    )
    cause = "common-part" if where.normalised or where.function else ""
    return COLLAPSE.found(verdict, text, where=where.name, cause=cause, evidence=evidence)


def _apart(site: Site) -> float:
    return max(1 - site.forward.similarity, 0.0)


def _where(sites: list[Site]) -> Site:
    """The place at which most of the difference is lost in one step."""
    apart = np.log(np.maximum([_apart(site) for site in sites], 1e-300))
    return sites[int(np.argmin(np.diff(apart))) + 1]
