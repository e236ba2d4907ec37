"""A torch model, its loss and one batch, as J(theta)."""

from __future__ import annotations

from typing import Any

from wellposed.backends.torch.differentiation import TorchDifferentiation
from wellposed.backends.torch.float64_copy import Wide
from wellposed.backends.torch.network import TorchNetwork
from wellposed.backends.torch.optimizer import TorchOptimizer
from wellposed.backends.torch.variants import TorchVariants


class TorchProblem(TorchDifferentiation, TorchNetwork, TorchOptimizer, TorchVariants):
    """J(theta) = loss(model(inputs), targets) for `batch` = (inputs, targets).

    The batch may also be a DataLoader, a dictionary, what a tokenizer returns, a list, or of NumPy arrays
    (`batches.py`). `inputs` may be a tensor, a tuple (the model's positional arguments) or a dictionary (its keyword
    arguments). A loss of one argument gets the model itself and needs no batch; `inputs` and `targets` name the tensors
    that it uses as such, so that data, padding, order and targets are judged too. theta holds the parameters that
    require a gradient, each shared parameter once.

    The model's mode (train or eval) is kept. Random numbers and buffers are the same at every
    evaluation, so dropout and BatchNorm are functions of theta. `optimizer` is the one that will
    train the model. Raises `InputError`, naming the parameter, where there is nothing to differentiate.
    """

    def _made_of(self, model: Any, loss: Any, batch: Any, optimizer: Any = None) -> TorchProblem:
        return TorchProblem(model, loss, batch, optimizer=optimizer)

    def _double(self, model: Any, loss: Any, batch: Any) -> TorchProblem:
        return _Double(model, loss, batch)


class _Double(TorchProblem):
    """A float64 copy of a problem."""

    def _casting(self) -> Wide:
        return Wide()
