"""WP606: whether a run that is resumed is the run that it resumes."""

from __future__ import annotations

from wellposed.backends.watched import Watched
from wellposed.findings import Finding, Remedy, Verdict
from wellposed.rule import Cause, Rule

PARTS = {
    "optimizer": ("The optimizer's moments or its count of steps are not saved.", "optimizer.state_dict()"),
    "scheduler": ("The schedule of the learning rate is not saved.", "scheduler.state_dict()"),
    "generator": (
        "The state of a random generator is not saved: order, dropout and augmentation are other ones, or repeat.",
        "torch.get_rng_state()",
    ),
    "scaler": ("The scale of the loss is not saved.", "scaler.state_dict()"),
    "ema": ("The averaged copy of the weights is not saved.", "ema.state_dict()"),
    "buffers": ("Buffers are not saved, such as BatchNorm's running statistics.", "model.state_dict()"),
    "data": ("The position in the data is not saved: examples come again, or are left out.", "sampler.state_dict()"),
    "model": ("Parameters of a model are not saved.", "model.state_dict()"),
    "other": ("Something that the step depends on is not saved.", ""),
}

RESUMING = Rule(
    id="WP606",
    subject="step",
    priority=62,
    title="a resumed run is another one",
    claim="A run that is saved, loaded into new objects and continued is bit for bit the run that was not interrupted.",
    judged=(
        "2k steps in one go are held against k steps, a save, a load into new objects, and k more: parameters and"
        " losses must agree bit for bit, else it fails. Which part is missing is found by putting the parts of the run"
        " that was not interrupted back, one at a time. In a script that is run, what a checkpoint is made of is held"
        " against what the step uses."
    ),
    causes=tuple(
        Cause(
            f"not-saved:{part}",
            means,
            "",
            (Remedy("Save it with the rest, and load it", code),),
        )
        for part, (means, code) in PARTS.items()
    ),
    judge=lambda watched: _judge(watched),
    references=("torch.save and torch.load: saving a general checkpoint",),
)


def _judge(watched: Watched) -> list[Finding]:
    """In a script that was run to its end, and that loaded a checkpoint of its own."""
    if not watched.resumed:
        return [
            RESUMING.not_applicable("No checkpoint was saved and loaded while the script was watched (--continue).")
        ]
    return [not_saved(part, place) for part, place in watched.unsaved.items()] or [RESUMING.holds()]


def not_saved(part: str, place: str) -> Finding:
    """A part that the resumed run did not get back; `place` is the line that saves."""
    verdict = Verdict.SUSPECT if part == "generator" else Verdict.FAILS
    text = f"After the checkpoint of {place} is loaded, training goes on with another state. {PARTS[part][0]}"
    return RESUMING.found(verdict, text, where=place, cause=f"not-saved:{part}")
