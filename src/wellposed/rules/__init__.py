"""The rule catalogue: each rule owns its words, so that report, `wellposed explain` and docs agree."""

from __future__ import annotations

from wellposed.rules import equivalence, gradients, inputs, objective, signals, weights
from wellposed.rules.rule import Cause, Rule

CATALOGUE: dict[str, Rule] = {
    rule.id: rule for module in (inputs, signals, weights, objective, gradients, equivalence) for rule in module.RULES
}

__all__ = ["CATALOGUE", "Cause", "Rule"]
