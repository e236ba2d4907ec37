"""From the loss, the optimizer and the graph to findings: WP401 to WP404."""

from __future__ import annotations

from wellposed.objective.dependence import check_dependence
from wellposed.objective.fit import check_fit
from wellposed.objective.rate import check_rate
from wellposed.objective.reached import check_reached

__all__ = ["check_dependence", "check_fit", "check_rate", "check_reached"]
