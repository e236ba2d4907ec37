"""The rule catalogue: each rule owns its words and its judgement, so that report, `wellposed explain` and docs
agree.
"""

from __future__ import annotations

from difflib import get_close_matches

from wellposed.gradients.rules.accumulated import ACCUMULATED
from wellposed.gradients.rules.noise_floor import NOISE_FLOOR
from wellposed.gradients.rules.not_differentiable import NOT_DIFFERENTIABLE
from wellposed.gradients.rules.paths import PATHS
from wellposed.gradients.rules.random import RANDOM
from wellposed.gradients.rules.ranks import RANKS
from wellposed.gradients.rules.uninformative import UNINFORMATIVE
from wellposed.gradients.rules.wrong import WRONG
from wellposed.gradients.rules.zero import ZERO
from wellposed.inputs.rules.constant import CONSTANT
from wellposed.inputs.rules.not_finite import NOT_FINITE as INPUTS_NOT_FINITE
from wellposed.inputs.rules.not_standard import NOT_STANDARD
from wellposed.inputs.rules.not_theirs import NOT_THEIRS
from wellposed.inputs.rules.unequal import UNEQUAL
from wellposed.objective.rules.depends import DEPENDS
from wellposed.objective.rules.fit import FIT
from wellposed.objective.rules.future import FUTURE
from wellposed.objective.rules.mode import MODE
from wellposed.objective.rules.order_lost import ORDER
from wellposed.objective.rules.padding import PADDING
from wellposed.objective.rules.rate import RATE
from wellposed.objective.rules.reach import REACH
from wellposed.objective.rules.reached import REACHED
from wellposed.objective.rules.targets import TARGETS
from wellposed.objective.rules.terms import TERMS
from wellposed.rule import Rule
from wellposed.signals.rules.collapse import COLLAPSE
from wellposed.signals.rules.dead import DEAD
from wellposed.signals.rules.exploding import EXPLODING
from wellposed.signals.rules.forward import FORWARD
from wellposed.signals.rules.horizon import HORIZON
from wellposed.signals.rules.not_finite import NOT_FINITE
from wellposed.signals.rules.saturated import SATURATED
from wellposed.signals.rules.vanishing import VANISHING
from wellposed.steps.rules.batches import BATCHES
from wellposed.steps.rules.clipping import CLIPPING
from wellposed.steps.rules.fresh import FRESH
from wellposed.steps.rules.resuming import RESUMING
from wellposed.steps.rules.schedule import SCHEDULE
from wellposed.steps.rules.trained import TRAINED
from wellposed.weights.rules.bias import BIAS
from wellposed.weights.rules.branch_growth import GROWTH
from wellposed.weights.rules.fan import FAN
from wellposed.weights.rules.initial_loss import INITIAL_LOSS
from wellposed.weights.rules.symmetric import SYMMETRIC
from wellposed.weights.rules.variance import VARIANCE

CATALOGUE: dict[str, Rule] = {
    rule.id: rule
    for rule in (
        *(NOT_STANDARD, UNEQUAL, CONSTANT, INPUTS_NOT_FINITE, NOT_THEIRS),
        *(VANISHING, EXPLODING, FORWARD, DEAD, SATURATED, COLLAPSE, NOT_FINITE, HORIZON),
        *(VARIANCE, SYMMETRIC, FAN, BIAS, INITIAL_LOSS, GROWTH),
        *(FIT, RATE, REACHED, DEPENDS, FUTURE, TARGETS, PADDING, ORDER, TERMS, REACH, MODE),
        *(WRONG, NOT_DIFFERENTIABLE, NOISE_FLOOR, RANDOM, ZERO, ACCUMULATED, RANKS, UNINFORMATIVE, PATHS),
        *(FRESH, TRAINED, CLIPPING, SCHEDULE, BATCHES, RESUMING),
    )
}


def names_a_rule(beginning: str) -> bool:
    """Whether it is a rule or the beginning of one."""
    return bool(beginning) and any(rule.startswith(beginning) for rule in CATALOGUE)


def guess(name: str) -> str:
    """A hint for a name that is no rule's."""
    close = get_close_matches(name, CATALOGUE, 3)
    return f"did you mean {', '.join(close)}?" if close else "wellposed explain lists them all"
