"""WP306: residual branches that make the stream grow."""

from __future__ import annotations

import numpy as np

from wellposed.findings import Evidence, Finding, Verdict
from wellposed.rule import Cause, Rule
from wellposed.signals.rules.words import INITIALIZE
from wellposed.signals.trace import Branch, Trace

_SUSPECT, _FAILS = 100.0, 1000.0


GROWTH = Rule(
    id="WP306",
    subject="weights",
    priority=160,
    title="residual branches grow",
    claim="Residual branches keep the stream's size.",
    judged=(
        "The root mean square of the stream behind the last branch over that behind the first, at the sums that every"
        f" way passes: above {_SUSPECT:g} it is suspect, above {_FAILS:g} it fails. With L branches of the stream's own"
        " size it grows as 2^(L/2) where branches read the stream as it is, and as sqrt(L) where a normalisation"
        " stands before them."
    ),
    causes=(
        Cause("all", "No branch is scaled by the number of branches.", "wp.trace(problem).branches", (INITIALIZE,)),
        Cause("one", "One branch is far larger than the stream.", "wp.trace(problem).branches", (INITIALIZE,)),
    ),
    references=("Zhang, Dauphin, Ma 2019 (Fixup), arXiv 1901.09321", "De & Smith 2020 (SkipInit), arXiv 2002.10444"),
    needs=("loss", "gradient", "layers"),
    judge=lambda measured: check_branches(measured.trace),
    treatment="initialize",
)


def check_branches(trace: Trace) -> Finding:
    """The stream's size behind the last branch over that behind the first, and the branch that adds most to it."""
    branches = [branch for branch in trace.branches if _known(branch)]
    if not branches:
        return GROWTH.not_applicable("No residual branch joins a stream that every way passes.")
    # Behind the first branch: embeddings may start small before a branch that a normalisation gives its size.
    # The sum is larger than its parts where a normalisation stands between them and it, and smaller where they cancel.
    growth = branches[-1].joined / max(branches[0].joined, float(np.hypot(branches[0].stream, branches[0].branch)))
    shares = [branch.share for branch in branches]
    grown = "size of the stream behind the last branch over that behind the first"
    evidence = (
        Evidence(grown, growth, reference=f"below {_SUSPECT:g}", how=f"{len(branches)} branches"),
        Evidence(
            "size of a branch over the stream's (median)", float(np.median(shares)), reference="1 / sqrt(branches) to 1"
        ),
    )
    if growth <= _SUSPECT:
        return GROWTH.holds(evidence)
    verdict = Verdict.FAILS if growth > _FAILS else Verdict.SUSPECT
    largest = max(branches, key=lambda branch: branch.share)
    one = largest.share > np.sqrt(growth)
    if one:
        what, where = f"most of it is added at `{largest.name}`, {largest.share:.3g} times the stream", largest.name
    else:
        what = f"a branch has {np.median(shares):.3g} times the stream's size; 1 / sqrt({len(branches)}) would keep it"
        where = branches[0].name
    text = f"The residual stream grows {growth:.3g}-fold over {len(branches)} branches; {what}."
    return GROWTH.found(verdict, text, where=where, cause="one" if one else "all", evidence=evidence)


def _known(branch: Branch) -> bool:
    return (
        bool(np.isfinite([branch.stream, branch.branch, branch.joined]).all())
        and branch.stream > 0
        and branch.joined > 0
    )
