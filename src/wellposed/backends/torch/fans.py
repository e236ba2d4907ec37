"""The fans of torch's layers, read off the layer."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from torch import nn

from wellposed.errors import InputError
from wellposed.numerics.fans import Fan, Window, convolution


def fans(layer: nn.Module, size: Sequence[int] | None = None) -> dict[str, Fan]:
    """The fan of every weight of a layer of torch by the weight's name within it; empty for other modules.

    `size` is the length of the input's spatial axes, of which only a convolution takes notice.
    """
    if isinstance(layer, nn.modules.lazy.LazyModuleMixin) and layer.has_uninitialized_params():
        raise InputError(
            f"{type(layer).__name__} is lazy and has no shape yet", hint="run the model once: model(inputs)"
        )
    if isinstance(layer, nn.modules.conv._ConvNd):
        return {"weight": _convolution(layer, size)}
    if isinstance(layer, nn.Linear):
        return {"weight": Fan(layer.in_features, layer.out_features)}
    if isinstance(layer, nn.Bilinear):
        return {"weight": Fan(layer.in1_features * layer.in2_features, layer.out_features)}
    if isinstance(layer, nn.Embedding | nn.EmbeddingBag):  # a lookup: one row, as it is
        return {"weight": Fan(1, layer.embedding_dim)}
    if isinstance(layer, nn.MultiheadAttention):
        return dict(_attention(layer))
    if isinstance(layer, nn.RNNBase):
        return dict(_recurrent(layer))
    if isinstance(layer, nn.RNNCellBase):
        hidden = layer.hidden_size
        return {"weight_ih": Fan(layer.input_size, hidden), "weight_hh": Fan(hidden, hidden)}
    if type(layer).__name__ == "Conv1D" and hasattr(layer, "nf"):  # GPT-2's linear layer, its weight [in, out]
        into, out = layer.get_parameter("weight").shape
        return {"weight": Fan(into, out)}
    return {}


def _attention(layer: nn.MultiheadAttention) -> Iterator[tuple[str, Fan]]:
    """Packed or not, query, key and value are three maps of their own."""
    width = layer.embed_dim
    if layer.in_proj_weight is not None:
        yield "in_proj_weight", Fan(width, width)
    else:
        yield from (
            (f"{part}_proj_weight", Fan(size, width))
            for part, size in (("q", width), ("k", layer.kdim), ("v", layer.vdim))
        )
    if layer.bias_k is not None:
        yield from ((name, Fan(1, width)) for name in ("bias_k", "bias_v"))
    yield "out_proj.weight", Fan(width, width)


def _recurrent(layer: nn.RNNBase) -> Iterator[tuple[str, Fan]]:
    """Each gate is a map of its own; what a layer hands on may be projected."""
    hidden, made = layer.hidden_size, layer.proj_size or layer.hidden_size
    directions = 2 if layer.bidirectional else 1
    for number in range(layer.num_layers):
        read = layer.input_size if number == 0 else made * directions
        for suffix in ("", "_reverse")[:directions]:
            yield f"weight_ih_l{number}{suffix}", Fan(read, hidden)
            yield f"weight_hh_l{number}{suffix}", Fan(made, hidden)
            if layer.proj_size:
                yield f"weight_hr_l{number}{suffix}", Fan(hidden, made)


def _convolution(layer: Any, size: Sequence[int] | None) -> Fan:
    windows = [_window(layer, axis) for axis in range(len(layer.kernel_size))]
    channels, zeros = (layer.in_channels, layer.out_channels), layer.padding_mode == "zeros"
    return convolution(channels, windows, layer.groups, transposed=layer.transposed, size=size, zeros=zeros)


def _window(layer: Any, axis: int) -> Window:
    kernel, stride, dilation = layer.kernel_size[axis], layer.stride[axis], layer.dilation[axis]
    if layer.padding == "same":
        return Window.same(kernel, stride, dilation)
    around = 0 if layer.padding == "valid" else layer.padding[axis]
    return Window(kernel, stride, dilation, around, around, layer.output_padding[axis])


def fans_within(layer: nn.Module, size: Sequence[int] | None = None) -> tuple[dict[str, Fan], list[str]]:
    """The fans of all weights of known layers within a module, and the names of matrices whose use cannot be read
    off.
    """
    found: dict[str, Fan] = {}
    known: list[str] = []
    for name, module in layer.named_modules():
        prefix = f"{name}." if name else ""
        own = fans(module, None if name else size)
        found |= {f"{prefix}{weight}": fan for weight, fan in own.items()}
        known += [prefix] if own else []
    return found, [name for name, p in layer.named_parameters() if p.dim() > 1 and not name.startswith(tuple(known))]
