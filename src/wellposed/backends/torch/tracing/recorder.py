"""One forward pass, every operation seen, and the gradient of each as the backward pass brings it.

A function mode sees functional and modular style alike. Who made a tensor is who its reader came
after, so what follows a layer is read off the run itself.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from torch.utils._pytree import tree_flatten

from wellposed.backends.measured import Flatness, LossCall, Operation, OperationKind, Signal, WeightUse
from wellposed.backends.torch.tracing.call import Call, RecurrentCall
from wellposed.backends.torch.tracing.function_mode import Watcher
from wellposed.backends.torch.tracing.lineage import BATCH, INDICES, Lineage
from wellposed.backends.torch.tracing.losses import loss_call
from wellposed.backends.torch.tracing.sizes import (
    SEQUENCES,
    attention_entropy,
    elementwise,
    flatness,
    root_mean_square,
    row_entropy,
    signal,
)
from wellposed.backends.torch.tracing.weight_use import CONVOLUTIONS, Uses
from wellposed.numerics.activations import Activation

_WEIGHTED = {"linear", *CONVOLUTIONS}
_CONTRACTIONS = {"matmul", "__matmul__", "bmm", "baddbmm", "einsum", "tensordot"}
_RECURRENT = {"lstm", "gru", "rnn_tanh", "rnn_relu"}
_CELLS = {"lstm_cell", "gru_cell", "rnn_tanh_cell", "rnn_relu_cell"}
_NORMS = {
    "batch_norm", "layer_norm", "group_norm", "instance_norm", "rms_norm", "local_response_norm", "normalize",
}  # fmt: skip
_ACTIVATIONS = {
    "relu", "relu_", "relu6", "leaky_relu", "leaky_relu_", "prelu", "rrelu", "rrelu_", "elu", "elu_", "selu", "selu_",
    "celu", "celu_",
    "gelu", "silu", "silu_", "mish", "mish_", "hardswish", "hardswish_", "hardsigmoid", "hardsigmoid_", "hardtanh",
    "hardtanh_",
    "sigmoid", "sigmoid_", "tanh", "tanh_", "softplus", "softsign", "logsigmoid", "log_sigmoid", "tanhshrink",
    "softshrink", "hardshrink", "threshold", "threshold_", "erf", "atan", "arctan", "sin", "cos",
}  # fmt: skip
_SUMS = {"add", "add_", "__add__", "__iadd__", "__radd__", "sub", "__sub__", "sub_"}
_NOTHING = Signal(0.0, 0.0, 0.0, True)
_ONE = Signal(1.0, 0.0, 1.0, True)


class Recorder(Watcher):
    """Enter it around the loss; after the backward pass `operations()` holds what was seen."""

    def __init__(self, model: nn.Module, batch: Any = None, *, structure_only: bool = False) -> None:
        super().__init__()
        self._sized = not structure_only
        self.loss_call: LossCall | None = None
        self.recurrent: list[RecurrentCall] = []
        self.last_only: dict[int, bool] = {}
        self.added: dict[str, str] = {}  # biases that are added by themselves, by the weight
        self._operations: list[Operation] = []
        self._gradients: dict[int, Signal] = {}
        self._trained: set[int] = set()
        self._lineage = Lineage()
        self._made: dict[int, weakref.ref[torch.Tensor]] = {}
        self._batch_known = False
        for leaf in tree_flatten(batch)[0]:
            if isinstance(leaf, torch.Tensor):
                self._batch_known = True
                # Indices carry a signal where they are looked up; masks carry none.
                self._lineage.note(leaf, (BATCH if leaf.is_floating_point() else INDICES,))
        self._uses = Uses(model)
        self._modules = {id(module): name for name, module in model.named_modules()}
        self._stack: list[str] = []
        self._handles: list[Any] = []

    def __enter__(self) -> Recorder:
        everywhere = torch.nn.modules.module
        self._handles = [
            everywhere.register_module_forward_pre_hook(self._enter_module),
            everywhere.register_module_forward_hook(self._leave_module, always_call=True),
        ]
        super().__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        super().__exit__(*exception)
        for handle in self._handles:
            handle.remove()

    def operations(self) -> tuple[Operation, ...]:
        return tuple(
            replace(operation, gradient=self._gradients.get(index, _NOTHING) if index in self._trained else None)
            for index, operation in enumerate(self._operations)
        )

    def structure(self, goal: torch.Tensor) -> tuple[Operation, ...]:
        """The operations, those that lead to a tensor with a gradient of size 1 in place of a measured one."""
        leading, left = set[int](), [index for index in self._lineage.of([goal]) if index >= 0]
        while left:
            index = left.pop()
            if index not in leading:
                leading.add(index)
                left.extend(self._operations[index].inputs)
        return tuple(
            replace(operation, gradient=_ONE if index in leading else None)
            for index, operation in enumerate(self._operations)
        )

    def _arriving(self, tensor: torch.Tensor, sources: tuple[int, ...]) -> Signal | None:
        """The size of what a layer reads; of the structure alone only that of the network's own inputs."""
        return signal(tensor) if self._sized or not any(source >= 0 for source in sources) else None

    def _made_of(self, result: torch.Tensor, use: WeightUse | None) -> Signal:
        if self._sized:
            return signal(result)
        return replace(_NOTHING, mean_square=root_mean_square(result) ** 2) if use is not None else _NOTHING

    def forget(self) -> None:
        """To be called when nothing more is read of the graph."""
        self._lineage.forget()
        self._uses.forget()
        self.recurrent.clear()

    def name_of(self, index: int) -> str:
        return self._operations[index].name

    def _enter_module(self, module: nn.Module, _arguments: Any) -> None:
        self._stack.append(self._modules.get(id(module), ""))

    def _leave_module(self, _module: nn.Module, _arguments: Any, _result: Any) -> None:
        if self._stack:
            self._stack.pop()

    def watched(self, name: str, function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        tensors = [leaf for leaf in tree_flatten((args, kwargs))[0] if isinstance(leaf, torch.Tensor)]
        if any(map(torch._C._functorch.is_functorch_wrapped_tensor, tensors)):  # within vmap or jvp: no numbers yet
            return function(*args, **kwargs)
        call = self._before(name, function, args, kwargs, tensors)
        result = function(*args, **kwargs)
        if tensors:
            self._uses.note(name, tensors[0], result)
        if isinstance(result, torch.Tensor):
            self._after(call, result)
        else:
            self._after_several(call, [leaf for leaf in tree_flatten(result)[0] if isinstance(leaf, torch.Tensor)])
        return result

    def _before(
        self,
        name: str,
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        tensors: list[torch.Tensor],
    ) -> Call:
        """What has to be looked at before the call, as it may work in place."""
        sources = self._lineage.of(tensors)
        use = self._uses.of(name, args, kwargs) if tensors else None
        source = self._arriving(tensors[0], sources) if tensors and (name in _WEIGHTED or use) else None
        phi, flat = None, None
        if name in _ACTIVATIONS and sources and tensors[0].is_floating_point():
            phi = elementwise(function, args, dict(kwargs))
            flat = flatness(tensors[0], phi, self._unit_axis(tensors[0], sources)) if self._sized else None
            output = self._made.get(sources[0])
            source = None if output is None or output() is tensors[0] else signal(tensors[0])
        self.loss_call = loss_call(name, args, kwargs) or self.loss_call
        return Call(name, args, kwargs, tensors, sources, use, source, phi, flat)

    def _after(self, call: Call, result: torch.Tensor) -> None:
        if call.name in _WEIGHTED or call.use:
            kind: OperationKind = "conv" if call.name.startswith("conv") else "linear"
            self._record(kind, call.name, call.sources, result, use=call.use, source=call.source)
            return
        record = _BY_NAME.get(call.name)
        if record is not None and record(self, call, result):
            return
        if call.activation is not None:
            phi, flat, source = call.activation, call.flat, call.source
            self._record("activation", call.name, call.sources, result, activation=phi, flat=flat, source=source)
        elif call.name in _SUMS and (bias := self._bias_of(call.args)) is not None:
            self._with_bias(*bias, result)
        elif len(set(call.sources) - {BATCH, INDICES}) > 1 and result.dim():
            self._record("add" if call.name in _SUMS else "other", call.name, call.sources, result)
        elif call.sources:
            self._lineage.note(result, call.sources)

    def _after_several(self, call: Call, made: list[torch.Tensor]) -> None:
        sources = call.sources
        if (call.name in _CELLS or call.name in _RECURRENT) and made:
            index = self._record("recurrent", call.name, sources, made[0], others=made[1:])
            sources = (index,)
            if call.name in _RECURRENT:
                self.recurrent.append(RecurrentCall(index, call.name, call.args))
                self._watch_last(index, made, call.args)
        for leaf in made if sources else ():
            self._lineage.note(leaf, sources)

    def _contraction(self, call: Call, result: torch.Tensor) -> bool:
        """A product with a parameter is a layer."""
        parameters = [owner for tensor in call.tensors if (owner := self._uses.name(tensor))]
        if not parameters:
            return False
        source, named = self._arriving(call.tensors[0], call.sources), _owner(parameters[0])
        self._record("linear", call.name, call.sources, result, source=source, named=named)
        return True

    def _cell(self, call: Call, result: torch.Tensor) -> bool:
        self._record("recurrent", call.name, call.sources, result)
        return True

    def _norm(self, call: Call, result: torch.Tensor) -> bool:
        self._record("norm", call.name, call.sources, result)
        return True

    def _lookup(self, call: Call, result: torch.Tensor) -> bool:
        self._record("other", call.name, call.sources, result)
        return True

    def _fused_attention(self, call: Call, result: torch.Tensor) -> bool:
        names = ("query", "key", "value", "attn_mask", "dropout_p", "is_causal")
        given = dict(zip(names, call.args, strict=False)) | call.kwargs
        options = given.get("attn_mask"), bool(given.get("is_causal")), given.get("scale")
        entropy = attention_entropy(given["query"], given["key"], *options) if self._sized else None
        self._record("attention", call.name, call.sources, result, entropy=entropy)
        return True

    def _softmax(self, call: Call, result: torch.Tensor) -> bool:
        """Over places it is attention; over the units of a layer a gate, or a router."""
        if not call.sources or result.dim() <= 2 or self._over_units(call):
            return False
        entropy = row_entropy(result) if self._sized else None
        self._record("attention", call.name, call.sources, result, entropy=entropy)
        return True

    def _over_units(self, call: Call) -> bool:
        """Whether a softmax chooses among the units of a layer, as a gate and a router do, and not among places, as
        attention does.
        """
        scores, sources = call.tensors[0], call.sources
        made = self._operations[sources[0]] if len(sources) == 1 and sources[0] >= 0 else None
        axis = call.kwargs.get("dim", call.args[1] if len(call.args) > 1 else None)
        of_a_layer = made is not None and made.kind == "linear" and self._made.get(sources[0], lambda: None)() is scores
        return of_a_layer and axis in (-1, scores.dim() - 1)

    def _bias_of(self, args: tuple[Any, ...]) -> tuple[int, str] | None:
        """Of a sum of what a weight without a bias made and a parameter: the operation, and the parameter."""
        for made, added in (args[:2], args[1::-1]) if len(args) > 1 else ():
            bias = self._uses.name(added) if isinstance(added, torch.Tensor) and added.dim() < SEQUENCES else ""
            if not bias or not isinstance(made, torch.Tensor):
                continue
            sources = self._lineage.of([made])
            use = self._operations[sources[0]].weight if len(sources) == 1 and sources[0] >= 0 else None
            if use is not None and not use.bias and self._made.get(sources[0], lambda: None)() is made:
                return sources[0], bias
        return None

    def _with_bias(self, index: int, bias: str, result: torch.Tensor) -> None:
        """x W + b is one operation: its output is the sum, whose gradient is that of x W."""
        use = self._operations[index].weight
        assert use is not None
        use = replace(use, bias=bias)
        self._operations[index] = replace(self._operations[index], weight=use, output=self._made_of(result, use))
        self.added[use.name] = bias
        self._lineage.note(result, (index,))
        self._made[index] = weakref.ref(result)

    def _on_gradient(self, tensor: torch.Tensor, look: Callable[[torch.Tensor], Any]) -> None:
        """Of the value as it is now: the node that made it stays the same, whatever is changed in place later, of it or
        of a view of it.
        """
        made, shape = tensor, tensor.shape
        base = tensor._base
        if base is not None and base.numel() == tensor.numel() and base.is_contiguous() and tensor.is_contiguous():
            made = base  # a change of a view in place takes the view's own node out of the graph
        node, number = made.grad_fn, made.output_nr
        if node is None:
            return

        def seen(gradients: tuple[torch.Tensor | None, ...]) -> None:
            gradient = gradients[number]
            if gradient is not None:
                look(gradient.reshape(shape))

        node.register_prehook(seen)

    def _unit_axis(self, tensor: torch.Tensor, sources: tuple[int, ...]) -> int:
        """Channels lie along axis 1 behind a convolution, else features along the last."""
        at = max(sources)
        if at < 0:
            return 1 if tensor.dim() > SEQUENCES else -1
        while self._operations[at].kind in ("norm", "add", "activation") and self._operations[at].inputs:
            at = self._operations[at].inputs[0]
        return 1 if self._operations[at].kind == "conv" and tensor.dim() > 2 else -1

    def _watch_last(self, index: int, made: list[torch.Tensor], args: tuple[Any, ...]) -> None:
        """Whether the loss reads the last step alone: of the outputs, or by way of the state that is returned beside
        them.
        """
        first = (
            bool(args[-1]) if isinstance(args[-1], bool) else False
        )  # batch_first comes last, but not for packed sequences
        if made[0].dim() != SEQUENCES or not made[0].requires_grad:
            return
        self.last_only[index] = True

        def look(gradient: torch.Tensor) -> None:
            early = gradient[:, :-1] if first else gradient[:-1]
            if bool(early.any()):
                self.last_only[index] = False

        self._on_gradient(made[0], look)

    def _record(
        self,
        kind: OperationKind,
        function: str,
        sources: tuple[int, ...],
        result: torch.Tensor,
        *,
        use: WeightUse | None = None,
        activation: Activation | None = None,
        source: Signal | None = None,
        flat: Flatness | None = None,
        entropy: float | None = None,
        others: Sequence[torch.Tensor] = (),
        named: str = "",
    ) -> int:
        index = len(self._operations)
        inputs = tuple(source for source in sources if source >= 0)
        reads_batch = BATCH in sources or (INDICES in sources and function == "embedding") or not index
        reads_batch = reads_batch or not (inputs or self._batch_known)
        module = self._stack[-1] if self._stack else ""
        name = _owner(use.name) if use else named or module or function
        self._operations.append(
            Operation(
                name,
                kind,
                function,
                inputs,
                self._made_of(result, use),
                None,
                use,
                activation,
                source,
                flat,
                reads_batch,
                entropy,
            )
        )
        self._lineage.note(result, (index,))
        self._made[index] = weakref.ref(result)
        if result.requires_grad and self._sized:
            self._trained.add(index)
            self._on_gradient(result, lambda gradient: self._gradients.__setitem__(index, signal(gradient)))
            for state in others:  # what comes back by the state counts where nothing comes by the outputs
                self._on_gradient(state, lambda gradient: self._gradients.setdefault(index, signal(gradient)))
        return index


_BY_NAME: dict[str, Callable[[Recorder, Call, torch.Tensor], bool]] = {
    **dict.fromkeys(_CONTRACTIONS, Recorder._contraction),
    **dict.fromkeys(_CELLS, Recorder._cell),
    **dict.fromkeys(_NORMS, Recorder._norm),
    "scaled_dot_product_attention": Recorder._fused_attention,
    "softmax": Recorder._softmax,
    "embedding": Recorder._lookup,
}
"""How functions are recorded that are known by name; each says whether it did so."""


def _owner(parameter: str) -> str:
    """The layer that a parameter belongs to: its module where it is called weight there, else the parameter itself."""
    owner, _, own = parameter.rpartition(".")
    return owner if owner and own.endswith("weight") else parameter
