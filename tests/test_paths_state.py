"""What two functions that are held against each other keep, close over and set is as it was, and told of."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

import wellposed as wp
from wellposed.backends.torch.optimizer_paths import Steps


def asked(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0)).requires_grad_()


def doubled(x):
    return 2 * x


def said(reference, candidate, *inputs):
    (finding,) = wp.check_paths(reference, candidate, inputs).findings
    return finding


def test_a_cache_in_a_closure_holds_nothing_of_another_format():
    tables = {}

    def table(x):
        if x.shape[-1] not in tables:
            tables[x.shape[-1]] = torch.linspace(-1, 1, x.shape[-1]).to(x.dtype)
        return x * tables[x.shape[-1]]

    table(asked(3, 4))
    held = tables[4]
    assert said(table, lambda x: table(x) * 1, asked(3, 4)).verdict is wp.Verdict.HOLDS
    assert tables == {4: held}
    assert held.dtype is torch.float32


def test_objects_and_containers_of_the_users_are_as_before_however_deep():
    class Counting:
        def __init__(self):
            self.calls, self.seen = 0, {"shapes": [(1, 2)]}

        def __call__(self, x):
            self.calls += 1
            self.seen["shapes"].append(tuple(x.shape))
            return 2 * x

    counting = Counting()
    assert said(doubled, counting, asked(3, 4)).verdict is wp.Verdict.HOLDS
    assert (counting.calls, counting.seen) == (0, {"shapes": [(1, 2)]})


def test_a_default_format_that_a_function_sets_is_put_back():
    def careless(x):
        torch.set_default_dtype(torch.float64)
        return 2 * x

    said(doubled, careless, asked(3, 4))
    assert torch.get_default_dtype() is torch.float32


def test_what_was_computed_before_is_told():
    scale = 2 * asked(4)
    finding = said(lambda x: x * scale, lambda x: scale * x, asked(3, 4))
    assert "Not compared: gradients by scale, which" in finding.message
    assert "was computed before; give them as inputs, or modules." in finding.message


@pytest.mark.parametrize(
    "call",
    [
        "wp.check_paths(lambda x: 2 * x, lambda x: x + x, torch.ones(3, requires_grad=True))",
        "wp.check_inputs(np.eye(3))",
        "wp.initialize(torch.nn.Linear(2, 2))",
    ],
)
def test_pythons_generator_is_left_by_the_first_call_of_a_process_too(call):
    code = (
        "import random, numpy as np, torch, wellposed as wp; before = random.getstate();"
        f" {call}; assert random.getstate() == before"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False, capture_output=True).returncode == 0


def test_sparse_and_quantized_data_are_passed_on():
    adjacency = torch.eye(4).to_sparse()
    assert said(lambda x, a: a @ x.T, lambda x, a: torch.sparse.mm(a, x.T), asked(3, 4), adjacency).verdict is (
        wp.Verdict.HOLDS
    )


def test_nested_tensors_and_arrays_are_refused_with_what_to_write():
    rows = torch.nested.nested_tensor([torch.randn(2, 3), torch.randn(4, 3)], layout=torch.jagged, requires_grad=True)
    with pytest.raises(wp.InputError, match=r"`inputs\[0\]` is a nested tensor(.|\n)*x.values\(\) and x.offsets\(\)"):
        said(doubled, doubled, rows)
    with pytest.raises(wp.InputError, match=r"torch.from_numpy\(x\).requires_grad_\(True\) on each tensor"):
        said(doubled, doubled, np.ones(3))


class Own(torch.optim.Optimizer):
    """Its constructor asks for what is no option of a group, and for no `lr`."""

    def __init__(self, params, strength, *, wrong=False):
        super().__init__(params, {"strength": strength, "foreach": None})
        self.wrong = wrong

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                factor = 1.01 if self.wrong and group["foreach"] else 1.0
                p.sub_(factor * group["strength"] * p.grad)


def steps_of(made, path="optimizer:foreach"):
    torch.manual_seed(0)
    model = torch.nn.Linear(4, 3)
    problem = wp.TorchProblem(
        model, torch.nn.MSELoss(), (torch.randn(8, 4), torch.randn(8, 3)), optimizer=made(model.parameters())
    )
    (finding,) = wp.check_paths(problem, paths=(path,)).findings
    return finding


def test_an_optimizer_with_a_constructor_of_its_own():
    assert steps_of(lambda p: Own(p, 0.1)).verdict is wp.Verdict.HOLDS
    assert steps_of(lambda p: Own(p, 0.1, wrong=True)).verdict is wp.Verdict.FAILS


def test_steps_below_the_rounding_of_the_parameters_say_nothing():
    finding = steps_of(lambda p: torch.optim.Adam(p, lr=1e-12))
    assert finding.verdict is wp.Verdict.UNDECIDED
    assert "moves every output by its own size: nothing can be said of them." in finding.message


def test_hooks_of_a_step_and_the_optimizers_state_are_left():
    parameter, called = asked(4), []
    optimizer = torch.optim.AdamW([parameter], lr=1e-2)
    optimizer.register_step_post_hook(lambda *_: called.append(1))
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    parameter.grad = torch.ones(4)
    optimizer.step()
    before, state = parameter.detach().clone(), optimizer.state[parameter]["exp_avg"].clone()
    moved = Steps(optimizer, "fused")({"w": torch.ones(4)})["w"]
    assert moved.abs().min() > 1e-3
    assert called == [1]
    assert schedule.last_epoch == 0
    assert torch.equal(parameter, before)
    assert torch.equal(optimizer.state[parameter]["exp_avg"], state)
