"""How far back a recurrent layer remembers: Lyapunov exponents by QR of the Jacobians of its steps.

The fused layer is taken apart: its own weights, the inputs of the real run, one step at a time. The largest exponents
are the mean logarithms of the diagonals of R where Q of the step before is pushed through the step and factored again
(Benettin et al. 1980; for recurrent networks Vogt, Puelma Touzel, Shlizerman & Lajoie 2022, arXiv 2006.14123).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from wellposed.backends.measured import Recurrence
from wellposed.backends.torch.tracing.call import RecurrentCall
from wellposed.backends.torch.tracing.recorder import Recorder
from wellposed.backends.torch.tracing.sizes import SEQUENCES

_ARGUMENTS = 9  # of torch.lstm and its kin on sequences that are not packed

_EXAMPLES, _EXPONENTS, _STEPS = 4, 4, 200
_Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def _lstm(x: torch.Tensor, state: Any, *weights: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """torch's cell, whose kernel for CUDA knows no forward mode."""
    h, c = state
    into, forget, new, out = (_linear(x, weights, 0) + _linear(h, weights, 1)).chunk(4, -1)
    c = forget.sigmoid() * c + into.sigmoid() * new.tanh()
    return out.sigmoid() * c.tanh(), c


def _gru(x: torch.Tensor, h: torch.Tensor, *weights: torch.Tensor) -> torch.Tensor:
    """As `_lstm`."""
    (reset, update, new), (reset_h, update_h, new_h) = (
        _linear(one, weights, number).chunk(3, -1) for number, one in enumerate((x, h))
    )
    keep = (update + update_h).sigmoid()
    return (1 - keep) * (new + (reset + reset_h).sigmoid() * new_h).tanh() + keep * h


def _linear(x: torch.Tensor, weights: Sequence[torch.Tensor], number: int) -> torch.Tensor:
    """Of the inputs (0) or the state (1); `weights` are those of both, and the biases of both where there are some."""
    return torch.nn.functional.linear(x, weights[number], weights[2 + number] if len(weights) > _MATRICES else None)


_MATRICES = 2
_CELLS: dict[str, Callable[..., Any]] = {
    "lstm": _lstm,
    "gru": _gru,
    "rnn_tanh": torch.rnn_tanh_cell,
    "rnn_relu": torch.rnn_relu_cell,
}


def recurrence_of(call: RecurrentCall, recorder: Recorder) -> Recurrence:
    """What was measured of a fused layer: of all its layers and directions the one that grows most; no exponents for
    packed sequences.
    """
    name = recorder.name_of(call.index)
    unknown = Recurrence(name, call.function, 0, np.zeros(0), float("nan"), False)
    if len(call.args) != _ARGUMENTS or not isinstance(call.args[-1], bool) or call.args[0].dim() != SEQUENCES:
        return unknown
    inputs, state, weights, biased, layers, _, _, two_ways, batch_first = call.args
    with torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # torch warns of its own forward mode
        inputs = inputs.detach().transpose(0, 1) if batch_first else inputs.detach()
        steps, inputs = inputs.shape[0], inputs[:_STEPS, :_EXAMPLES].double()
        states = [
            part.detach()[:, :_EXAMPLES].double() for part in (state if isinstance(state, tuple | list) else (state,))
        ]
        if (
            len({part.shape[-1] for part in states}) > 1 or not inputs.numel()
        ):  # a projected LSTM, or nothing to step through
            return unknown
        measured, each = [], 4 if biased else 2
        for layer in range(layers):
            outputs = []
            for way in range(2 if two_ways else 1):
                number = layer * (2 if two_ways else 1) + way
                own = [weight.detach().double() for weight in weights[number * each : (number + 1) * each]]
                start = torch.cat([part[number] for part in states], dim=-1)
                found = _exponents(
                    _step(call.function, own, len(states)), inputs.flip(0) if way else inputs, start, len(states)
                )
                measured.append(found[:2])
                outputs.append(found[2].flip(0) if way else found[2])
            inputs = torch.cat(outputs, dim=-1)
    exponents, error = max(measured, key=lambda pair: float(pair[0][0]))
    return Recurrence(name, call.function, steps, exponents, error, recorder.last_only.get(call.index, False))


def _step(function: str, weights: list[torch.Tensor], parts: int) -> _Step:
    def step(x: torch.Tensor, state: torch.Tensor) -> torch.Tensor:
        if parts == 2:
            h, c = state.chunk(2, dim=-1)
            return torch.cat(list(_CELLS[function](x, (h, c), *weights)), dim=-1)
        result: torch.Tensor = _CELLS[function](x, state, *weights)
        return result

    return step


def _exponents(step: _Step, inputs: torch.Tensor, state: torch.Tensor, parts: int) -> tuple[Any, float, torch.Tensor]:
    """The largest exponents per step, averaged over examples, the standard error of the first, and the outputs [T, N,
    H].

    Of inputs [T, N, D] and a state [N, S] whose first H entries are the output.
    """
    rows, size = state.shape
    count = min(_EXPONENTS, size)
    draw = torch.Generator().manual_seed(0)
    q = torch.linalg.qr(
        torch.randn(rows, size, count, dtype=torch.float64, generator=draw, device="cpu").to(state.device)
    ).Q
    logs, outputs = [], []
    for x in inputs:
        repeated = (x.repeat_interleave(count, 0), state.repeat_interleave(count, 0))
        directions = q.transpose(1, 2).reshape(rows * count, size)
        moved = torch.func.jvp(lambda s, x=repeated[0]: step(x, s), (repeated[1],), (directions,))[1]
        q, r = torch.linalg.qr(moved.reshape(rows, count, size).transpose(1, 2))
        logs.append(r.diagonal(dim1=1, dim2=2).abs().clamp_min(1e-300).log())
        state = step(x, state)
        outputs.append(state)
    found = torch.stack(logs).mean(0)  # [N, k]
    largest = found[:, 0]
    error = float(largest.std() / rows**0.5) if rows > 1 else float("nan")
    made = torch.stack(outputs)
    return found.mean(0).sort(descending=True).values.cpu().numpy(), error, made[..., : made.shape[-1] // parts]
