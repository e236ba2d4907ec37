"""The steps of an optimizer as a function of gradients, to hold its implementations against each other."""

from __future__ import annotations

import copy
from collections import OrderedDict, defaultdict
from typing import Any, Literal

import torch

from wellposed.backends.torch.evaluation import TorchEvaluation
from wellposed.backends.torch.ways import TorchWays
from wellposed.errors import InputError

Implementation = Literal["", "foreach", "fused"]
_SIZES = (1.0, -0.5, 0.25)  # of the gradient, at one step after another


class Steps:
    """`steps(gradients)`: by how much a few steps move each parameter, from where it and the optimizer are."""

    def __init__(self, optimizer: Any, implementation: Implementation) -> None:
        self._optimizer, self._implementation = optimizer, implementation

    def __call__(self, gradients: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        own = [p for group in self._optimizer.param_groups for p in group["params"]]
        starts = [p.detach().clone() for p in own]
        moved = [start.clone().requires_grad_() for start in starts]
        taken = self._copied(moved)
        for size in _SIZES:
            for parameter, gradient in zip(moved, gradients.values(), strict=True):
                parameter.grad = size * gradient.detach().to(parameter.dtype)
            taken.step()
        return {name: (m - s).detach() for name, m, s in zip(gradients, moved, starts, strict=True)}

    def _copied(self, parameters: list[torch.Tensor]) -> Any:
        which = {"foreach": self._implementation == "foreach", "fused": self._implementation == "fused"}
        places, groups = iter(parameters), []
        for group in self._optimizer.param_groups:
            options = {name: value for name, value in group.items() if name not in ("params", *which)}
            groups.append({"params": [next(places) for _ in group["params"]], **options, **which})
        taken = object.__new__(type(self._optimizer))  # whatever its constructor asks for
        vars(taken).update({key: value for key, value in vars(self._optimizer).items() if not callable(value)})
        vars(taken).update({name: OrderedDict() for name in vars(taken) if name.endswith("_hooks")})
        taken.state, taken.param_groups = defaultdict(dict), groups
        kept = copy.deepcopy(self._optimizer.state_dict())
        for group in kept["param_groups"]:
            group.update(which)
        taken.load_state_dict(kept)
        return taken


def steps_on(problem: TorchEvaluation, implementation: str) -> TorchWays:
    """The optimizer's own formula beside one of its implementations. Raises `InputError` where it has none."""
    optimizer = problem.optimizer
    if optimizer is None:
        raise InputError(
            f"the path optimizer:{implementation} needs an optimizer",
            hint="wp.check_paths(wp.TorchProblem(model, loss, batch, optimizer=optimizer), paths=...)",
        )
    if implementation not in optimizer.defaults:
        raise InputError(f"{type(optimizer).__name__} has no implementation {implementation!r}")
    names = {id(p): name for name, p in problem.model.named_parameters()}
    seen = problem.gradient(problem.theta())
    gradients: dict[str, torch.Tensor] = {}
    for group in optimizer.param_groups:
        for place, p in enumerate(group["params"]):
            name = names.get(id(p), f"parameter {len(gradients) + place}")
            known = seen.get(name)
            gradients[name] = torch.zeros_like(p) if known is None else torch.as_tensor(known).to(p)
    reference, candidate = Steps(optimizer, ""), Steps(optimizer, implementation)  # type: ignore[arg-type]
    return TorchWays(reference, candidate, (gradients,), outputs_alone=True)
