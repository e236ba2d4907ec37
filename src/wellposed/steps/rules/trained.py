"""WP602: what the steps train."""

from __future__ import annotations

from wellposed.backends.watched import Watched
from wellposed.findings import Evidence, Finding, Remedy, Verdict
from wellposed.printable import listed
from wellposed.rule import Cause, Rule

_AGAIN = 2  # steps: one may be taken before anything is trained
_OPPOSED = -0.5  # cosine of two gradients from which on one undoes the other

TRAINED = Rule(
    id="WP602",
    subject="step",
    priority=14,
    title="what is trained",
    claim="Every parameter that gets a gradient is moved by one optimizer, by the losses that are meant for it.",
    judged=(
        "Parameters with a gradient that no optimizer has are suspect; they fail where the optimizer has others in"
        " their place, which no model has any more. A parameter that two optimizers move by the same gradient fails."
        " An optimizer that steps again and again while none of its tensors has a gradient fails."
        " A step whose gradient holds a backward pass that belongs to another optimizer's step fails; parameters moved"
        f" by two losses in turn whose gradients are opposed (a cosine below {_OPPOSED:g}) are suspect."
    ),
    causes=(
        Cause(
            "not-in-optimizer",
            "These parameters get a gradient and are in no optimizer: they stay as they are.",
            "",
            (
                Remedy(
                    "Give them to the optimizer, or freeze them",
                    "optimizer.add_param_group({'params': layer.parameters()})\nlayer.requires_grad_(False)",
                ),
            ),
        ),
        Cause(
            "replaced",
            "The optimizer was made before these parameters were: it moves others, which no model has any more.",
            "{id(p) for p in model.parameters()} <= {id(p) for g in optimizer.param_groups for p in g['params']}",
            (
                Remedy(
                    "Make the optimizer when the model is complete: after layers are replaced, normalised or moved",
                    "optimizer = type(optimizer)(model.parameters(), lr=optimizer.defaults['lr'])",
                ),
            ),
        ),
        Cause(
            "unreached",
            "No loss reaches what this optimizer trains: its steps do nothing.",
            "[p.grad for group in optimizer.param_groups for p in group['params']] before the step",
            (
                Remedy(
                    "Look for a detach(), no_grad(), .item() or .numpy() between these parameters and the loss that is"
                    " meant for them"
                ),
            ),
        ),
        Cause(
            "in-two",
            "Two optimizers have the same parameters: each of them moves these by the same gradient.",
            "",
            (Remedy("Leave them to one optimizer"),),
        ),
        Cause(
            "leaks-into-other",
            "The loss of another network moves this one: its gradient was left there, or its optimizer has both.",
            "",
            (
                Remedy(
                    "Clear the gradients before this network's own backward pass, and give each optimizer the"
                    " parameters of its own network alone",
                    "discriminator.zero_grad()\nloss_d.backward()",
                ),
            ),
        ),
    ),
    judge=lambda watched: _judge(watched),
    references=("Goodfellow et al. 2014: generative adversarial nets, algorithm 1",),
)


def _judge(watched: Watched) -> list[Finding]:
    if not watched.steps:
        return [TRAINED.not_applicable("No optimizer stepped.")]
    judged = (_unreached(watched), _outside(watched), _twice(watched), _foreign(watched), _opposed(watched))
    return [found for found in judged if found is not None] or [TRAINED.holds()]


def _unreached(watched: Watched) -> Finding | None:
    """Gradients that were there and were cleared are another rule's, and so are parameters that were replaced."""
    for index, optimizer in enumerate(watched.optimizers):
        steps = [step for step in watched.steps if step.optimizer == index]
        if len(steps) < _AGAIN or not watched.backwards or (optimizer.orphans and watched.outside):
            continue
        if all(not (step.own or step.stale or step.foreign or step.lost_from or step.norm > 0) for step in steps):
            text = (
                f"`{optimizer.name}` steps at {steps[0].place}, {len(steps)} times, and none of its"
                f" {optimizer.tensors} tensors has a gradient: no loss reaches what it trains."
            )
            evidence = (Evidence("tensors with a gradient", 0.0, optimizer.name, "", "above 0"),)
            return TRAINED.found(Verdict.FAILS, text, where=optimizer.name, cause="unreached", evidence=evidence)
    return None


def _outside(watched: Watched) -> Finding | None:
    names = list(watched.outside)
    orphans = [name for optimizer in watched.optimizers for name in optimizer.orphans]
    if not names:
        return None
    shown = listed([f"`{name}`" for name in names])
    entries = sum(watched.outside.values())
    if orphans:
        text = (
            f"{shown} get a gradient and are in no optimizer, while"
            f" {len(orphans)} tensors that the optimizer has ({listed(orphans)}) are in no model that was run: the"
            " optimizer was made of others, before these."
        )
        evidence = (Evidence("entries never moved", entries, names[0], "", "0"),)
        return TRAINED.found(Verdict.FAILS, text, where=names[0], cause="replaced", evidence=evidence)
    text = f"{shown} get a gradient and are in no optimizer: they stay as they are."
    evidence = (Evidence("entries never moved", entries, names[0], "", "0"),)
    return TRAINED.found(Verdict.SUSPECT, text, where=names[0], cause="not-in-optimizer", evidence=evidence)


def _twice(watched: Watched) -> Finding | None:
    for name, (one, other) in watched.shared.items():
        passes = [{n for step in watched.steps if step.optimizer == k for n in step.own} for k in (one, other)]
        both = passes[0] & passes[1]
        if not both:
            continue
        owners = [watched.optimizers[k].name for k in (one, other)]
        shared = [key for key, pair in watched.shared.items() if pair == (one, other)]
        text = (
            f"`{owners[0]}` and `{owners[1]}` both have {listed([f'`{key}`' for key in shared])}, and both step by the"
            " same gradient: these are moved twice."
        )
        evidence = (Evidence("backward passes that both step by", len(both), name, "", "0"),)
        return TRAINED.found(Verdict.FAILS, text, where=name, cause="in-two", evidence=evidence)
    return None


def _foreign(watched: Watched) -> Finding | None:
    for step in watched.steps:
        if step.foreign:
            name = watched.optimizers[step.optimizer].name
            places = listed(list(dict.fromkeys(watched.backwards[n].place for n in step.foreign)))
            text = (
                f"When `{name}` steps at {step.place}, its gradient still holds that of {places}, which another"
                " optimizer's step followed: a loss that is not its own moves it."
            )
            evidence = (Evidence("backward passes of another's", len(step.foreign), step.place, "", "0"),)
            return TRAINED.found(Verdict.FAILS, text, where=step.place, cause="leaks-into-other", evidence=evidence)
    return None


def _opposed(watched: Watched) -> Finding | None:
    for pair in watched.opposed:
        if pair.cosine < _OPPOSED:
            text = (
                f"{listed([f'`{name}`' for name in pair.names])} are moved by the loss at {pair.one} and, in another"
                f" step, by the loss at {pair.other}, which wants the opposite (cosine {pair.cosine:.2f}):"
                " one network's loss moves the other."
            )
            evidence = (Evidence("cosine of the two gradients", pair.cosine, pair.names[0], "", f"above {_OPPOSED:g}"),)
            return TRAINED.found(
                Verdict.SUSPECT, text, where=pair.names[0], cause="leaks-into-other", evidence=evidence
            )
    return None
