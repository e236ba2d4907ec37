"""What each parameter of a torch model is, by the kind of the layer that owns it."""

from __future__ import annotations

from collections.abc import Iterator

from torch import nn

from wellposed.backends.initializable import Parameter, Role
from wellposed.backends.torch.fans import fans

_GATES = {"LSTM": 4, "GRU": 3, "RNN": 1, "LSTMCell": 4, "GRUCell": 3, "RNNCell": 1}


def parameters_of(model: nn.Module) -> tuple[Parameter, ...]:
    """All parameters in the model's order, one with several names under its first."""
    owners = {
        f"{name}.{own}" if name else own: (name, module, own)
        for name, module in model.named_modules(remove_duplicate=False)
        for own in module._parameters
    }
    names: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(parameter), []).append(name)
    return tuple(_parameters(model, owners, names))


def _parameters(
    model: nn.Module, owners: dict[str, tuple[str, nn.Module, str]], names: dict[int, list[str]]
) -> Iterator[Parameter]:
    for name, parameter in model.named_parameters():
        layer, module, own = owners[name]
        shape = tuple(parameter.shape)
        fan = fans(module).get(own)
        role = _role(module, own, len(shape), fan is not None)
        tied = tuple(names[id(parameter)][1:])
        for other in tied:  # a head tied to an embedding: the embedding's rule sets both
            role = "embedding" if isinstance(owners[other][1], nn.Embedding) else role
        kind = type(module).__name__
        gates = _GATES.get(kind, 1) if "gate" in role else 1
        groups = module.groups if isinstance(module, nn.modules.conv._ConvNd) else 1
        padding = module.padding_idx if isinstance(module, nn.Embedding) else None
        yield Parameter(name, shape, role, layer, kind, parameter.requires_grad, fan, groups, gates, padding, tied)


def _role(module: nn.Module, own: str, dim: int, summing: bool) -> Role:
    if "_hr" in own:  # the projection of an LSTM's outputs, without gates
        return "weight"
    if isinstance(module, nn.RNNBase | nn.RNNCellBase):
        return "gate bias" if own.startswith("bias") else "recurrent gates" if "_hh" in own else "gates"
    if isinstance(module, nn.Embedding | nn.EmbeddingBag):
        return "embedding"
    if "Norm" in type(module).__name__ and dim == 1:
        return "shift" if "bias" in own or "beta" in own else "scale"
    if summing:
        return "weight"
    if "bias" in own and dim == 1:
        return "bias"
    return "other"
