"""The rules that one check of a gradient judges together, from the same differences."""

from __future__ import annotations

from wellposed.gradients.rules.noise_floor import NOISE_FLOOR
from wellposed.gradients.rules.not_differentiable import NOT_DIFFERENTIABLE
from wellposed.gradients.rules.random import RANDOM
from wellposed.gradients.rules.uninformative import UNINFORMATIVE
from wellposed.gradients.rules.wrong import WRONG
from wellposed.gradients.rules.zero import ZERO

RULES = (WRONG, NOT_DIFFERENTIABLE, NOISE_FLOOR, RANDOM, ZERO, UNINFORMATIVE)
