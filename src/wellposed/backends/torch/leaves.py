"""Which tensors does a loss depend on that require a gradient, and what does the user call them?"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import nn

from wellposed.backends.closures import reachable


def closed_over(roots: Mapping[str, Any], known: Iterable[torch.Tensor]) -> dict[str, torch.Tensor]:
    """Leaf tensors that require a gradient and are within reach of the roots, but not among those known."""
    taken = {id(tensor) for tensor in known}
    found: dict[str, torch.Tensor] = {}
    for label, root in roots.items():
        for name, thing in [(label, root), *reachable(root, label)]:
            parts = thing.named_parameters(prefix=name) if isinstance(thing, nn.Module) else [(name, thing)]
            for path, tensor in parts:
                if (
                    isinstance(tensor, torch.Tensor)
                    and tensor.requires_grad
                    and tensor.is_leaf
                    and id(tensor) not in taken
                ):
                    taken.add(id(tensor))
                    found[_unlike(path or "tensor", found)] = tensor
    return found


def computed_before(roots: Iterable[Any]) -> list[str]:
    """What is within reach and was computed from something that requires a gradient: a backward pass goes through it,
    into a graph that is not the function's own.
    """
    found = {
        id(thing): name
        for root in roots
        for name, thing in reachable(root)
        if isinstance(thing, torch.Tensor) and thing.requires_grad and not thing.is_leaf
    }
    return list(dict.fromkeys(found.values()))


def _unlike(name: str, taken: Mapping[str, torch.Tensor]) -> str:
    """Two functions may call two tensors by one name."""
    number = 2
    while name in taken:
        name, number = f"{name.partition(' (')[0]} ({number})", number + 1
    return name


def modules_of(*roots: Any) -> tuple[nn.Module, ...]:
    """The outermost modules that the roots are or can reach: their buffers and modes are theirs, and to be put back."""
    found: dict[int, nn.Module] = {}
    for root in roots:
        for thing in [root, *(thing for _, thing in reachable(root))]:
            if isinstance(thing, nn.Module) and id(thing) not in found:
                found[id(thing)] = thing
    inner = {id(part) for module in found.values() for part in module.modules() if part is not module}
    return tuple(module for key, module in found.items() if key not in inner)


def leaves(*outputs: torch.Tensor) -> list[torch.Tensor]:
    """The leaves of the graph that these were computed by: everything that a backward pass would give a gradient."""
    found = [output for output in outputs if output.grad_fn is None and output.requires_grad]
    found += [node.variable for node in nodes(*outputs) if hasattr(node, "variable")]
    return list({id(tensor): tensor for tensor in found}.values())


def nodes(*outputs: torch.Tensor) -> Iterator[Any]:
    """Every node of the graph that these were computed by, once."""
    waiting: list[Any] = [output.grad_fn for output in outputs]
    seen = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        waiting += [parent for parent, _ in node.next_functions]


def detached(argument: Any) -> Any:
    """A tensor's numbers as a leaf of its own, which asks for a gradient where the tensor does; what is no tensor as it
    is.
    """
    if not isinstance(argument, torch.Tensor):
        return argument
    return argument.detach().clone().requires_grad_(argument.requires_grad)
