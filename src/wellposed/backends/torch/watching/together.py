"""What can be said of all optimizers and losses of a loop together: who moves what."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import combinations

import torch
from torch import nn

from wellposed.backends.torch.watching.captured import Captured
from wellposed.backends.watched import Opposed

Looked = Sequence[tuple[Captured, int]]  # a loss, and the optimizer that steps after it


def outside_of(looked: Looked, known: set[int]) -> dict[str, int]:
    """Parameters with a gradient that no optimizer has, by name, and their entries; but for those of modules in
    evaluation mode, through which something else is trained.
    """
    found = {}
    for captured, _ in looked:
        passive = {id(p) for module in captured.modules if not module.training for p in module.parameters()}
        for leaf in captured.leaves:
            if isinstance(leaf, nn.Parameter) and id(leaf) not in known and id(leaf) not in passive:
                found[captured.names[id(leaf)] or f"a tensor of shape {list(leaf.shape)}"] = leaf.numel()
    return found


def orphans_of(parameters: Sequence[torch.Tensor], reached: set[int], modules: Iterable[nn.Module]) -> tuple[str, ...]:
    """Those of an optimizer that never got a gradient, and that no module has that was run."""
    owned = {id(p) for module in modules for p in module.parameters()}
    return tuple(
        f"a tensor of shape {list(p.shape)}" for p in parameters if id(p) not in reached and id(p) not in owned
    )


def shared_of(looked: Looked, parameters: Sequence[Sequence[torch.Tensor]]) -> dict[str, tuple[int, int]]:
    """Tensors that two optimizers have, and which two."""
    names = {key: name for captured, _ in looked for key, name in captured.names.items()}
    found = {}
    for (one, own), (other, others) in combinations(enumerate(parameters), 2):
        for p in own:
            if any(p is q for q in others):
                found[names.get(id(p)) or f"a tensor of shape {list(p.shape)}"] = (one, other)
    return found


def opposed_of(looked: Looked, parameters: Sequence[Sequence[torch.Tensor]]) -> list[Opposed]:
    """Of losses that are followed by different steps, what both of these move, and the cosine of their gradients."""
    moved = [set(map(id, own)) for own in parameters]
    found = []
    for (one, first), (other, second) in combinations(looked, 2):
        if one.step == other.step or -1 in (first, second):
            continue
        both = moved[first] & moved[second] & one.samples.keys() & other.samples.keys()
        if both:
            inner = sum(float((one.samples[key] * other.samples[key]).sum()) for key in both)
            sizes = [sum(float(seen.samples[key].square().sum()) for key in both) for seen in (one, other)]
            if min(sizes) > 0:
                names = tuple(one.names[key] for key in one.samples if key in both)
                cosine = inner / (sizes[0] * sizes[1]) ** 0.5
                found.append(Opposed(names, one.shown, other.shown, cosine))
    return found
