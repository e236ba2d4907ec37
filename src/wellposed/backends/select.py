"""Which framework do these objects belong to? Asked of `sys.modules`: a framework is never imported to find out."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from wellposed.backends.initializable import Initializable
from wellposed.backends.taped import TapedInitializable
from wellposed.errors import InputError
from wellposed.numerics.activations import Activation
from wellposed.numerics.fans import Fan
from wellposed.printable import name_of
from wellposed.users_code import Raised, attempt


def elementwise(activation: Callable[[Any], Any]) -> Activation:
    """An activation of any framework as a function of float64 arrays, under its own name."""
    framework = _framework(activation)
    if not framework:
        return activation
    adapter = "tracing.sizes" if framework == "torch" else "activation"
    adapted: Activation = importlib.import_module(f"wellposed.backends.{framework}.{adapter}").activation_of(activation)
    adapted.__name__ = name_of(activation)
    return adapted


def _framework(activation: Callable[[Any], Any]) -> str:
    """Whose arrays an activation takes; of one that is nobody's, whichever of them it works on: "" is NumPy."""
    if isinstance(activation, type):
        return ""
    if "torch" in sys.modules and _is_torch(activation):
        return "torch"
    if "jax" in sys.modules and _module(activation).startswith("jax"):
        return "jax"
    if not _takes(activation, np.linspace(-1.0, 1.0, 4)):
        for framework, array in (("torch", "tensor"), ("jax", "numpy")):
            if framework in sys.modules and _works(activation, framework, array):
                return framework
    return ""


def _works(activation: Callable[[Any], Any], framework: str, array: str) -> bool:
    made = (
        sys.modules[framework].tensor([0.5, -0.5])
        if array == "tensor"
        else sys.modules[framework].numpy.array([0.5, -0.5])
    )
    return _takes(activation, made)


def _takes(activation: Callable[[Any], Any], array: Any) -> bool:
    """Whether the function runs on an array that it may not be written for."""
    return not isinstance(attempt(lambda: activation(array), ours=True), Raised)


def fans_of(layer: Any, inputs: Any) -> dict[str, Fan]:
    """The fans of a torch layer's weights by name. Raises `InputError` for what is no layer, and where they cannot be
    read off.
    """
    if "torch" in sys.modules and isinstance(layer, sys.modules["torch"].nn.Module):
        return importlib.import_module("wellposed.backends.torch.fans_in_use").used_fans(layer, inputs)  # type: ignore[no-any-return]
    raise InputError(
        f"fan takes a torch layer, not a {type(layer).__name__}",
        hint="for arrays of your own, fan_in is the number of inputs that are summed into one output",
    )


def initializable_of(model: Any, batch: Any) -> Initializable:
    """The adapter that shows a model's layers in order and takes new weights. Raises `InputError` for unknown
    models.
    """
    if "torch" in sys.modules and isinstance(model, sys.modules["torch"].nn.Module):
        return importlib.import_module("wellposed.backends.torch.initializable").TorchInitializable(model, batch)  # type: ignore[no-any-return]
    if "jax" in sys.modules and any(
        isinstance(leaf, sys.modules["jax"].Array) for leaf in sys.modules["jax"].tree_util.tree_leaves(model)
    ):
        return importlib.import_module("wellposed.backends.jax.initializable").JaxInitializable(model, batch)  # type: ignore[no-any-return]
    if isinstance(model, dict) and model and all(isinstance(value, np.ndarray) for value in model.values()):
        return TapedInitializable(model, batch)
    raise InputError(
        "initialize takes a torch.nn.Module, a pytree of JAX arrays or a dictionary of NumPy arrays, not a"
        f" {type(model).__name__}",
        hint=(
            "for arrays of your own, wp.gain(activation).forward / sqrt(fan_in) is the standard deviation to draw with"
        ),
    )


def tensor_function(fn: Any, inputs: Any, order: int, *, finite: bool = True, inputs_alone: bool = False) -> list[Any]:
    """torch: fn as a problem and, for order 2, its gradient as another. `finite`: NaN among the inputs is refused, and
    not held; `inputs_alone`: what fn closes over is left as it is.
    """
    function = _adapter("torch", "function")
    options = {"finite": finite, "inputs_alone": inputs_alone}
    problems = [function.TensorFunctionProblem(fn, inputs, **options)]
    if order > 1:
        problems.append(
            function.TensorFunctionProblem(*function.second_order(fn, inputs, inputs_alone=inputs_alone), **options)
        )
    return problems


def array_function(f: Any, args: Any, order: int, *, forward: bool = False) -> list[Any]:
    """JAX: f as a problem and, for higher orders, its gradient (`forward`: its derivative along a direction), that
    one's, and so on.
    """
    function = _adapter("jax", "function")
    problems = [function.function_problem(f, args)]
    for seed in range(1, order):
        f, args = (function.derivative_along if forward else function.second_order)(f, args, seed)
        problems.append(function.function_problem(f, args))
    return problems


def gradcheck_error() -> type[Exception]:
    """torch: what its own gradcheck raises."""
    return importlib.import_module("torch.autograd.gradcheck").GradcheckError  # type: ignore[no-any-return]


def accumulation_of(problem: Any, count: int, step: Any) -> tuple[Any, Any, Any, float]:
    """torch: the full batch's gradient, the micro-batches' own, the accumulated one, and what rounding may make of
    them.
    """
    module = _adapter("torch", "accumulation")
    return module.measure(problem, count, step)  # type: ignore[no-any-return]


def ranks_problem(model: Any, loss: Any, batch: Any, step: Any) -> Any:
    """torch: a model over several ranks as one problem."""
    return _adapter("torch", "ranks").RanksProblem(model, loss, batch, step)


def leave_ranks() -> None:
    """Out of torch's process group, if this process is in one: its threads would end it by a signal else."""
    distributed = getattr(sys.modules.get("torch"), "distributed", None)
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()


def ways_of(reference: Any, candidate: Any, inputs: Any) -> Any:
    """Two functions of torch tensors or JAX arrays, or torch modules, to be held against each other."""
    jax = sys.modules.get("jax")
    if jax is not None and any(isinstance(leaf, jax.Array) for leaf in jax.tree_util.tree_leaves(inputs)):
        return _adapter("jax", "ways").JaxWays(reference, candidate, inputs)
    return _adapter("torch", "ways").TorchWays(reference, candidate, inputs)


def torch_problem(model: Any, loss: Any, batch: Any) -> Any:
    """torch: a model, its loss and a batch."""
    return _adapter("torch", "problem").TorchProblem(model, loss, batch)


def torch_paths() -> Any:
    """torch: a model on other paths."""
    return _adapter("torch", "other_paths")


def joint_problem_of(problem: Any) -> Any:
    """torch: the problem that all ranks have in common, where several of them hold its model; None elsewhere."""
    torch = sys.modules.get("torch")
    if torch is None or problem.backend != "torch" or not torch.distributed.is_available():
        return None
    if not torch.distributed.is_initialized() or torch.distributed.get_world_size() == 1:
        return None
    return _adapter("torch", "joint").jointly(problem)


FRAMEWORKS = ("torch", "jax")
"""Whose training loops can be watched."""


def watch_of(framework: str, look: Any, done: Any, **options: Any) -> Any:
    """What watches its training loops."""
    if framework == "torch":
        return _adapter("torch", "watching.watch").TorchWatch(look, done, **options)
    return _adapter("jax", "watch").JaxWatch(look, done, **options)


def runs() -> Any:
    """torch: the parts of an object that trains."""
    return _adapter("torch", "watching.runs")


def input_map_of(function: Any, x: Any) -> Any:
    """A torch or JAX function of one array as an `InputMap`. Raises `InputError` for arrays of another kind."""
    if "torch" in sys.modules and isinstance(x, sys.modules["torch"].Tensor):
        return importlib.import_module("wellposed.backends.torch.inputmap").TorchInputMap(function, x)
    if "jax" in sys.modules and isinstance(x, sys.modules["jax"].Array):
        return importlib.import_module("wellposed.backends.jax.inputmap").JaxInputMap(function, x)
    raise InputError(f"a spectrum needs a torch tensor or a JAX array of inputs, not a {type(x).__name__}")


def torch_normalising() -> Any:
    """torch: what is made of statistics."""
    return _adapter("torch", "normalising")


def jax_normalising() -> Any:
    """JAX: what is made of statistics."""
    return _adapter("jax", "normalising")


def _adapter(framework: str, module: str) -> Any:
    try:
        return importlib.import_module(f"wellposed.backends.{framework}.{module}")
    except ModuleNotFoundError as error:
        if error.name != framework:
            raise
        raise ImportError(f"this check needs {framework}\n\nHint: pip install 'wellposed[{framework}]'") from error


def _module(thing: Any) -> str:
    return str(getattr(thing, "__module__", None) or type(thing).__module__)


def _is_torch(thing: Any) -> bool:
    torch = sys.modules["torch"]
    builtin = vars(torch.nn.functional).get(name_of(thing)) is thing
    return isinstance(thing, torch.nn.Module) or builtin or _module(thing).startswith(("torch", "_VariableFunctions"))
