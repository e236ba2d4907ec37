"""The same gradient on two ways: a fault of 1 % is seen in every format, rounding never, and what it comes from."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils._pytree import tree_leaves
from torch.utils.checkpoint import checkpoint

import wellposed as wp
from wellposed.gradients.paths.apart import POINTS, measure

FORMATS = (torch.bfloat16, torch.float16, torch.float32)


class Linear(torch.autograd.Function):
    """x @ w.T with a backward pass by hand, into which faults are built."""

    @staticmethod
    def forward(ctx, x, w, fault):
        ctx.save_for_backward(x, w)
        ctx.fault = fault
        return x @ w.T

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        gx, gw = g @ w, g.T @ x
        match ctx.fault:
            case "scale":
                gw = gw * 1.01
            case "sign":
                gx = -gx
            case "wrong-rows":
                gx = gx.clone()
                gx[3] *= 1.05
            case "tail":
                whole = len(x) - len(x) % 16
                gw = g[:whole].T @ x[:whole]
            case "missing-term":
                gx = gx - 0.3 * gx.roll(1, 0)
            case "stride":
                gw = g.T.reshape(g.shape).T @ x if not g.is_contiguous() else gw
            case "nondeterministic":
                gx = gx * torch.from_numpy(np.random.default_rng().random((len(gx), 1)) > 0.05)
            case "in-place":
                gw = g.T @ (x * 0 + ctx.saved_tensors[0])
        return gx, gw, None


class Product(torch.autograd.Function):
    """x * w, whose two gradients are what `changed` makes of the right ones."""

    @staticmethod
    def forward(ctx, x, w, changed):
        ctx.save_for_backward(x, w)
        ctx.changed = changed
        return x * w

    @staticmethod
    def backward(ctx, g):
        x, w = ctx.saved_tensors
        return *ctx.changed(g * w, (g * x).sum_to_size(w.shape), x), None


def product(changed):
    return lambda x, w: Product.apply(x, w, changed)


def tensors(dtype, rows=53, ins=24, outs=40):
    draw = torch.Generator().manual_seed(0)
    x, w = torch.randn(rows, ins, generator=draw), torch.randn(outs, ins, generator=draw) / ins**0.5
    return x.to(dtype).requires_grad_(), w.to(dtype).requires_grad_()


def held(reference, candidate, inputs):
    (finding,) = wp.check_paths(reference, candidate, inputs).findings
    return finding


def plain(x, w):
    return torch.tanh(x @ w.T)


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_a_right_way_holds(dtype):
    finding = held(plain, lambda x, w: torch.tanh(Linear.apply(x, w, "")), tensors(dtype))
    assert finding.verdict is wp.Verdict.HOLDS
    assert "gradients (2) are those of the reference up to the rounding of" in finding.message


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize("fault", ["scale", "sign", "wrong-rows", "tail", "missing-term", "nondeterministic"])
def test_a_fault_is_found_and_named_in_every_format(fault, dtype):
    finding = held(plain, lambda x, w: torch.tanh(Linear.apply(x, w, fault)), tensors(dtype))
    assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, fault)
    assert finding.where == ("inputs[1]" if fault in ("scale", "tail") else "inputs[0]")


def test_a_scale_says_by_how_much():
    finding = held(plain, lambda x, w: torch.tanh(Linear.apply(x, w, "scale")), tensors(torch.bfloat16))
    assert finding.message.startswith("The gradient by `inputs[1]` is another on this path: it is 1.0")
    assert finding.message.endswith(" times what it should be.")
    slope = finding.evidence[0]
    assert slope.value == pytest.approx(1.01, abs=1e-3)


@given(factor=st.floats(0.02, 10), dtype=st.sampled_from(FORMATS), down=st.booleans())
def test_any_factor_of_two_percent_and_more_is_found(factor, dtype, down):
    factor = 1 - factor / 10.5 if down else 1 + factor

    class Scaled(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, g):
            return factor * g

    if abs(factor - 1) < 0.02:
        return
    finding = held(lambda x: torch.tanh(x), lambda x: torch.tanh(Scaled.apply(x)), tensors(dtype)[:1])
    assert finding.verdict is wp.Verdict.FAILS
    assert finding.cause == "scale"


def test_gradients_that_do_not_lie_in_one_piece():
    def reference(x, w):
        return (x @ w.T).T.reshape(-1).square()

    finding = held(
        reference, lambda x, w: Linear.apply(x, w, "stride").T.reshape(-1).square(), tensors(torch.float32, 40)
    )
    assert finding.cause == "stride"


class Block(nn.Module):
    def __init__(self, way, dropout=0.1):
        super().__init__()
        torch.manual_seed(1)
        self.inner, self.outer, self.drop, self.way = nn.Linear(24, 64), nn.Linear(64, 5), nn.Dropout(dropout), way
        self.cached = None

    def body(self, x):
        return self.drop(F.gelu(self.inner(x)))

    def forward(self, x):
        if self.way == "stale":
            self.cached = self.inner.weight.detach().clone() if self.cached is None else self.cached
            return self.outer(F.gelu(F.linear(x, self.cached + self.inner.weight - self.inner.weight.detach())))
        if self.way == "plain":
            return self.outer(self.body(x))
        hidden = checkpoint(self.body, x, use_reentrant=False, preserve_rng_state=self.way == "right")
        return self.outer(hidden)


@pytest.mark.parametrize(("way", "cause"), [("right", ""), ("redrawn", "new-dropout")])
def test_recomputing_with_other_random_numbers(way, cause):
    finding = held(Block("plain"), Block(way), torch.randn(64, 24))
    assert finding.cause == cause


def test_weights_from_before():
    finding = held(Block("plain", 0.0), Block("stale", 0.0), torch.randn(64, 24))
    assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, "stale-cache")


def test_a_saved_tensor_that_is_changed_past_autograd():
    def candidate(x, w):
        hidden = x * w[:1]
        made = hidden.exp()
        made.data[0] *= 1.5
        result = made * 1.0
        result.data[0] /= 1.5
        return result

    finding = held(lambda x, w: (x * w[:1]).exp(), candidate, tensors(torch.float32))
    assert finding.cause == "in-place"


def test_sums_in_a_coarse_format():
    def coarse(x, w):
        class Bias(torch.autograd.Function):
            @staticmethod
            def forward(ctx, x, b):
                return x + b

            @staticmethod
            def backward(ctx, g):
                total = g[0] * 0
                for row in g:
                    total = total + row
                return g, total

        return Bias.apply(x, w)

    x = torch.randn(1500, 8).bfloat16().requires_grad_()
    b = torch.randn(8).bfloat16().requires_grad_()
    finding = held(lambda x, b: x + b, coarse, (x, b))
    assert (finding.verdict, finding.cause, finding.where) == (wp.Verdict.SUSPECT, "precision", "inputs[1]")


@pytest.mark.parametrize(("factor", "cause"), [(1.009, "scale"), (1.3, "scale"), (-1.0, "sign"), (0.0, "scale")])
def test_one_factor_in_one_format_alone_is_no_rounding(factor, cause):
    candidate = product(lambda gx, gw, x: (gx * (factor if x.dtype is torch.bfloat16 else 1.0), gw))
    x, w = tensors(torch.bfloat16, 64)
    finding = held(lambda x, w: x * w, candidate, (x, w[0].detach().requires_grad_()))
    assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, cause)


def test_ties_of_a_coarse_format_are_no_fault():
    """Two ways to the largest of equal numbers give the gradient to one of them each."""
    x = torch.randn(50, 20, generator=torch.Generator().manual_seed(0)).bfloat16().requires_grad_()
    finding = held(lambda x: x.topk(3, -1).values, lambda x: x.sort(-1, descending=True).values[:, :3], (x,))
    assert finding.verdict is not wp.Verdict.FAILS


def test_an_output_that_is_another_is_named_first():
    finding = held(plain, lambda x, w: 1.02 * torch.tanh(x @ w.T), tensors(torch.bfloat16))
    assert (finding.cause, finding.where) == ("forward", "output")


def test_outputs_of_other_shapes_and_numbers():
    assert (
        "The shape of `output` is (40,)" in held(plain, lambda x, w: plain(x, w).sum(0), tensors(torch.float32)).message
    )
    two = held(plain, lambda x, w: (plain(x, w), x), tensors(torch.float32))
    assert two.message == "The reference returns `output`, the candidate `output[0]`, `output[1]`."
    gone = held(plain, lambda x, w: plain(x, w) / 0, tensors(torch.float32))
    assert gone.message == "`output` is not finite on this path, and is on the reference's."


def test_a_reference_that_is_not_there_in_float64():
    def reference(x, w):
        if x.dtype is torch.float64:
            raise RuntimeError("not implemented")
        return plain(x, w)

    finding = held(reference, plain, tensors(torch.bfloat16))
    assert finding.verdict is wp.Verdict.UNDECIDED
    assert "does not run in float64 (RuntimeError: not implemented)" in finding.message


def test_what_functions_close_over_is_left_alone_and_told():
    inner, scale = nn.Linear(24, 3), torch.ones(3, requires_grad=True)
    x, _ = tensors(torch.float32)
    scale.grad = torch.zeros(3)
    finding = held(lambda x: inner(x) * scale, lambda x: inner(x) * scale, (x,))
    assert finding.verdict is wp.Verdict.HOLDS
    assert "Outputs (1) and gradients (4) are those of the reference" in finding.message
    assert inner.weight.grad is None
    assert torch.equal(scale.grad, torch.zeros(3))
    assert x.grad is None


def test_modules_and_generators_among_the_inputs_are_looked_after():
    norm, linear, own = nn.BatchNorm1d(24), nn.Linear(24, 3), torch.Generator().manual_seed(3)
    state = own.get_state()

    def function(x, module, generator):
        return module(x) * torch.rand(3, generator=generator).to(x.dtype)

    x, _ = tensors(torch.float32)
    finding = held(function, lambda *inputs: function(*inputs), (x, nn.Sequential(norm, linear), own))
    assert finding.verdict is wp.Verdict.HOLDS
    assert "gradients (5)" in finding.message
    assert linear.weight.grad is None
    assert not norm.running_mean.any()
    assert torch.equal(own.get_state(), state)


def test_a_graph_that_a_function_closes_over_is_kept():
    w = torch.randn(24, 24, requires_grad=True)
    hidden, (x, _) = 2 * w, tensors(torch.float32)
    assert held(lambda x: x @ hidden.to(x.dtype), lambda x: x @ hidden, (x,)).verdict is wp.Verdict.HOLDS
    assert w.grad is None
    hidden.sum().backward()
    assert w.grad is not None


def test_versions_caches_and_hooks_are_left():
    class Caching(nn.Linear):
        seen: tuple[torch.Tensor, ...] = ()

        def forward(self, x):
            self.seen = (*self.seen, x.detach())
            self.register_forward_hook(lambda *_: None)
            return super().forward(x)

    model, data = Caching(8, 3), (torch.randn(16, 8), torch.randint(3, (16,)))
    kept = F.cross_entropy(model(data[0].clone().requires_grad_()), data[1])
    version, seen, hooks = model.weight._version, model.seen, len(model._forward_hooks)
    assert wp.check_paths(model, nn.CrossEntropyLoss(), data, paths=["checkpoint"]).ok
    assert (model.weight._version, model.seen, len(model._forward_hooks)) == (version, seen, hooks)
    kept.backward()


def test_hooks_of_parameters_are_on_every_path():
    """A masked gradient is masked in float64 too; a hook of the candidate's alone is told for what it does."""
    model, mask = nn.Linear(24, 8), (torch.rand(8, 24) > 0.5).float()
    model.weight.register_hook(lambda g: g * mask)
    data = torch.randn(32, 24), torch.randint(8, (32,))
    assert wp.check_paths(model, nn.CrossEntropyLoss(), data, paths=("autocast", "bfloat16")).ok
    other = nn.Linear(24, 8)
    other.load_state_dict(model.state_dict())
    other.weight.register_hook(lambda g: 1.5 * g * mask)
    finding = held(model, other, data[0])
    assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, "scale")
    assert "it is 1.5 times" in finding.message


@pytest.mark.parametrize(("tokens", "seed"), [(40, 0), (40, 2), (200, 1)])
def test_experts_that_flip_in_bfloat16_are_no_fault(tokens, seed):
    def route(x, gate, experts):
        scores, chosen = (x @ gate).softmax(-1).topk(2, -1)
        every = torch.einsum("nd,edo->neo", x, experts)
        picked = torch.gather(every, 1, chosen[..., None].expand(-1, -1, every.shape[-1]))
        return (picked * scores[..., None]).sum(1)

    draw = torch.Generator().manual_seed(seed)
    shapes = ((tokens, 16), (16, 8), (8, 16, 12))
    inputs = tuple(torch.randn(*shape, generator=draw).bfloat16().requires_grad_() for shape in shapes)
    assert held(route, lambda *given: route(*given), inputs).verdict is wp.Verdict.HOLDS


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        (lambda x: x.relu(), lambda x: x.clamp(min=0)),
        (lambda x: x.max(-1).values, lambda x: x.amax(-1)),
        (lambda x: x.max(-1).values, lambda x: x.flip(-1).max(-1).values),
        (lambda x: x.abs(), lambda x: torch.where(x >= 0, x, -x)),
    ],
)
def test_other_sides_of_a_kink_are_both_right(reference, candidate, dtype):
    x = torch.randn(200, 4, generator=torch.Generator().manual_seed(0)).relu().to(dtype).requires_grad_()
    finding = held(reference, candidate, (x,))
    assert finding.verdict is wp.Verdict.HOLDS
    assert "inputs[0] has another side of a kink: both are right." in finding.message


@pytest.mark.parametrize("dtype", FORMATS, ids=str)
def test_a_gradient_lost_at_zeros_is_no_kink(dtype):
    candidate = product(lambda gx, gw, x: (torch.where(x == 0, 0, gx), gw))
    x = torch.randn(40, 20, generator=torch.Generator().manual_seed(0)).relu().to(dtype).requires_grad_()
    w = torch.randn(40, 20, generator=torch.Generator().manual_seed(1)).to(dtype).requires_grad_()
    assert held(lambda x, w: x * w, candidate, (x, w)).verdict is wp.Verdict.FAILS


def test_layers_that_write_to_their_input_and_data_in_eight_bits():
    x, _ = tensors(torch.float32)
    assert held(lambda x: x.relu(), nn.ReLU(inplace=True), (x,)).verdict is wp.Verdict.HOLDS
    small = torch.randn(53, 24).to(torch.float8_e4m3fn)
    assert held(lambda x, q: x * q.float(), lambda x, q: q.float() * x, (x, small)).verdict is wp.Verdict.HOLDS


def test_a_backward_pass_that_takes_one_piece_only():
    class Views(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return 2 * x

        @staticmethod
        def backward(ctx, g):
            return 2 * g.view(-1).view(g.shape)

    finding = held(lambda x: 2 * x, Views.apply, tensors(torch.float32)[:1])
    assert (finding.verdict, finding.cause) == (wp.Verdict.SUSPECT, "stride")
    assert finding.message.startswith("It takes only incoming gradients that lie in one piece")
    assert "RuntimeError: view size is not compatible" in finding.message


@pytest.mark.parametrize(
    ("function", "shape", "said"),
    [
        (lambda x: x.detach() * 2, (5, 4), "No output depends on anything that requires a gradient, on either way"),
        (lambda x: x * 2, (0, 4), "All outputs and gradients are empty"),
    ],
)
def test_nothing_to_compare_is_not_right(function, shape, said):
    x = torch.randn(shape, requires_grad=True)
    finding = held(function, lambda x: function(x), (x,))
    assert finding.verdict is wp.Verdict.UNDECIDED
    assert said in finding.message


def test_dictionaries_of_outputs_are_held_by_their_keys():
    def made(x, keys):
        return {key: x * len(key) for key in keys}

    x, _ = tensors(torch.float32)
    right = held(lambda x: made(x, ("one", "three")), lambda x: made(x, ("three", "one")), (x,))
    assert right.verdict is wp.Verdict.HOLDS
    other = held(lambda x: made(x, ("one", "three")), lambda x: made(x, ("one", "seven")), (x,))
    assert other.message == (
        "The reference returns `output['one']`, `output['three']`, the candidate `output['one']`, `output['seven']`."
    )


# --- paths of a model --------------------------------------------------------------------------


def network(dropout=0.1):
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(32, 4, 64, dropout, batch_first=True)
    return nn.Sequential(
        nn.Linear(8, 32), nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), nn.Linear(32, 3)
    )


def batch():
    torch.manual_seed(2)
    return torch.randn(16, 10, 8), torch.randint(3, (16, 10))


def loss(outputs, targets):
    return F.cross_entropy(outputs.flatten(0, 1), targets.flatten())


def test_a_right_model_holds_on_every_path_and_is_left_as_it_was():
    model, data = network(), batch()
    before = [p.detach().clone() for p in model.parameters()]
    state = torch.get_rng_state()
    paths = ("checkpoint", "autocast", "bfloat16", "float16", "channels-last", "attention:math")
    (finding,) = wp.check_paths(model, loss, data, paths=paths).findings
    assert finding.verdict is wp.Verdict.HOLDS
    assert finding.message == f"Outputs and gradients are the same up to rounding on the paths {', '.join(paths)}."
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
    assert torch.equal(state, torch.get_rng_state())
    assert all(p.grad is None for p in model.parameters())


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad:UserWarning")
def test_recomputing_the_first_block_the_old_way_loses_its_gradient():
    (finding,) = wp.check_paths(network(), loss, batch(), paths=["checkpoint:reentrant"]).findings
    assert (finding.verdict, finding.where) == (wp.Verdict.FAILS, "model.0.weight")
    assert "nothing of it arrives" in finding.message


def test_blocks_with_named_arguments_are_recomputed_the_old_way_too():
    class Block(nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = nn.Linear(8, 8)

        def forward(self, x, *, scale=1.0):
            return x + scale * self.linear(x)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.blocks = nn.Linear(8, 8), nn.ModuleList([Block(), Block()])

        def forward(self, x):
            x = self.first(x)
            for block in self.blocks:
                x = block(x, scale=0.5)
            return x

    data = torch.randn(6, 8), torch.randint(8, (6,))
    assert wp.check_paths(Net(), nn.CrossEntropyLoss(), data, paths=["checkpoint:reentrant"]).ok


def test_within_an_autocast_of_the_users():
    data = torch.randn(16, 8), torch.randint(3, (16,))
    with torch.autocast("cpu", torch.bfloat16):
        report = wp.check_paths(nn.Linear(8, 3), nn.CrossEntropyLoss(), data, paths=("autocast", "checkpoint"))
    assert report.ok


def test_weights_that_the_coarse_format_has_not_are_put_back():
    model, data = nn.Linear(8, 3), (torch.randn(16, 8), torch.randint(3, (16,)))
    before = model.weight.detach().clone()
    assert not torch.equal(before, before.bfloat16().float())
    wp.check_paths(model, nn.CrossEntropyLoss(), data, paths=["autocast"])
    assert torch.equal(model.weight, before)


def test_the_references_own_weights_are_put_back():
    reference, candidate = nn.Linear(4, 3), nn.Linear(4, 3)
    candidate.load_state_dict(reference.state_dict())
    before = reference.weight.detach().clone()
    wp.check_paths(reference, candidate, torch.randn(5, 4))
    assert torch.equal(reference.weight, before)


def test_a_forward_of_one_object_and_data_written_to_in_place_are_left():
    model = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 3))
    own = model[0].forward
    model[0].forward = lambda x: 3 * own(x)
    x, y = torch.randn(4, 8), torch.randint(3, (4,))
    outputs = model(x)
    wp.check_paths(model, nn.CrossEntropyLoss(), (x, y), paths=["checkpoint"])
    assert torch.equal(model(x), outputs)
    data, moved = torch.randn(4, 4), torch.randn(4, 4, requires_grad=True)
    before = data.clone()
    assert held(lambda x, t: 2 * x * t, lambda x, t: x * t.mul_(2), (moved, data)).verdict is wp.Verdict.HOLDS
    assert torch.equal(data, before)


def test_a_path_that_does_not_run_is_told_so():
    class Whole(nn.Linear):
        def forward(self, x):
            if torch.is_autocast_enabled("cpu"):
                raise RuntimeError("no kernel here")
            return super().forward(x)

    x, y = torch.randn(8, 4), torch.randint(2, (8,))
    report = wp.check_paths(Whole(4, 2), nn.CrossEntropyLoss(), (x, y), paths=("autocast", "checkpoint"))
    told = {finding.verdict: finding.message for finding in report.findings}
    assert told[wp.Verdict.UNDECIDED] == "On the path autocast: It does not run: RuntimeError: no kernel here."
    assert "On the path checkpoint" in told[wp.Verdict.HOLDS]


def test_a_problem_against_itself_as_written():
    problem = wp.TorchProblem(network(), loss, batch())
    assert wp.check_paths(problem).ok
    full = wp.checkup(problem, full=True, only=lambda rule: rule == "WP509")
    assert [finding.verdict for finding in full.findings] == [wp.Verdict.HOLDS]


def test_gradcheck_against_a_reference_in_bfloat16():
    inputs = tensors(torch.bfloat16)
    wrong = wp.gradcheck(lambda x, w: Linear.apply(x, w, "scale"), inputs, reference=lambda x, w: x @ w.T)
    assert [(f.rule, f.cause) for f in wrong.findings if f.verdict is wp.Verdict.FAILS] == [("WP509", "scale")]
    assert wp.gradcheck(lambda x, w: Linear.apply(x, w, ""), inputs, reference=lambda x, w: x @ w.T).ok


# --- fingerprints ------------------------------------------------------------------------------


def problem(factor=1.0, seed=0, activation=torch.tanh):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.two = nn.Linear(12, 30), nn.Linear(30, 4)

        def forward(self, x):
            return factor * self.two(activation(self.one(x)))

    torch.manual_seed(seed)
    return wp.TorchProblem(Net(), nn.CrossEntropyLoss(), (torch.randn(40, 12), torch.randint(4, (40,))))


def test_a_fingerprint_of_the_same_problem_holds(tmp_path):
    file = tmp_path / "kept.json"
    file.write_text(wp.fingerprint(problem()))
    assert len(file.read_text()) < 1500 * 5
    report = wp.check_paths(problem(), file)
    assert report.ok
    assert report.findings[0].message == "5 outputs and gradients are those of the fingerprint, up to rounding."


def test_a_fingerprint_shows_what_has_changed(tmp_path):
    file = str(tmp_path / "kept.json")
    kept = json.loads(wp.fingerprint(problem()))
    (tmp_path / "kept.json").write_text(json.dumps(kept))
    (finding,) = wp.check_paths(problem(1.001), file).findings
    assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, "forward")
    assert "in float64 too" in finding.message
    (other,) = wp.check_paths(problem(seed=1), file).findings
    assert other.verdict is wp.Verdict.UNDECIDED
    assert "The parameters are others than those that" in other.message
    gradient = kept["tensors"]["gradients model.one.weight"]
    gradient["seen"] = [1.01 * value for value in gradient["seen"]]
    (tmp_path / "kept.json").write_text(json.dumps(kept))
    (way,) = wp.check_paths(problem(), file).findings
    assert "in float64 it is the same: the way in which it is computed has changed" in way.message


# --- bad input ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: wp.check_paths(3, plain, ()), "reference must be a function or a module, not a int"),
        (lambda: wp.check_paths(plain, 3, ()), "candidate must be a function or a module, not a int"),
        (lambda: wp.check_paths(plain), "a check needs a problem, not a function"),
        (lambda: wp.check_paths(plain, plain, (torch.ones(2, 2), torch.ones(2, 2))), "no input requires a gradient"),
        (lambda: wp.check_paths(network(), loss, batch(), paths="compile"), "paths takes several, not 'compile'"),
        (lambda: wp.check_paths(network(), loss, batch(), paths=5), "paths takes several, not 5"),
        (lambda: wp.check_paths(network(), loss, batch(), paths=("fused",)), "there is no path 'fused'"),
        (lambda: wp.check_paths(nn.Linear(2, 2), nn.Linear(2, 3), torch.ones(2, 2)), r"the shapes \(2, 2\) and \(3, 2\)"),
        (lambda: wp.check_paths(nn.Linear(2, 2), plain, torch.ones(2, 2)), "the other is not"),
        (lambda: wp.check_paths(nn.Linear(2, 2), nn.Linear(2, 2, bias=False), torch.ones(2, 2)), "other parameters: bias"),
        (lambda: wp.check_paths(nn.Linear(2, 2), nn.Linear(2, 2), torch.ones(2, 2)), "has other values in reference"),
        (lambda: wp.check_paths(nn.LazyLinear(2), nn.LazyLinear(2), torch.ones(2, 2)), "`weight` has no shape yet"),
        (lambda: wp.check_paths(plain, plain, (torch.ones(2, 2, device="meta"),)), "is on the meta device"),
        (lambda: wp.check_paths(problem(), "nowhere.json"), "nowhere.json cannot be read: No such file"),
        (lambda: wp.check_paths(problem(), __file__), "is no fingerprint"),
        (lambda: wp.fingerprint(plain), "a check needs a problem"),
    ],
)  # fmt: skip
def test_bad_input_is_told(call, said):
    with pytest.raises(wp.InputError, match=said):
        call()


# --- the measure -------------------------------------------------------------------------------


@pytest.mark.parametrize("common", [0.0, 1.0])
def test_rounding_alone_is_never_a_fault(common):
    """Noise of a bfloat16's size, of each entry for itself or of a whole row at once."""
    random = np.random.default_rng(0)
    unit = 2.0**-9
    for _ in range(300):
        exact = random.standard_normal((20, 30))

        def rounded(exact=exact):
            row = 1 + common * unit * random.uniform(-1, 1, (20, 1))
            return exact * row * (1 + (1 - common) * unit * random.uniform(-1, 1, exact.shape))

        apart = measure("g", [exact] * POINTS, [rounded() for _ in range(POINTS)], [rounded(), rounded()], unit, 0.0)
        assert not apart.wrong


@given(st.floats(0.01, 0.5), st.integers(0, 19))
def test_a_wrong_row_is_seen_where_it_is(size, row):
    random = np.random.default_rng(row)
    unit = 2.0**-9
    exact = random.standard_normal((20, 30))
    wrong = exact.copy()
    wrong[row] *= 1 + size
    way = [wrong * (1 + unit * random.uniform(-1, 1, exact.shape)) for _ in range(POINTS)]
    right = [exact * (1 + unit * random.uniform(-1, 1, exact.shape)) for _ in range(2)]
    (along, _) = measure("g", [exact] * POINTS, way, right, unit, 0.0).slices
    assert along.wrong.nonzero()[0].tolist() == [row]


# --- other inputs of the same kind -------------------------------------------------------------


class Blocks(torch.autograd.Function):
    """Rows in blocks of 16, of which faults forget something that the inputs given do not show."""

    @staticmethod
    def forward(ctx, x, w, mask, fault):
        ctx.save_for_backward(x, w, mask)
        ctx.fault = fault
        return torch.where(mask, x * w, 0)

    @staticmethod
    def backward(ctx, g):
        x, w, mask = ctx.saved_tensors
        kept = torch.where(mask, g, 0)
        gx, gw = kept * w, kept * x
        match ctx.fault:
            case "whole blocks":
                gw = gw[: len(gw) // 16 * 16]
            case "one row" if len(x) == 1:
                gx = 2 * gx
            case "strides" if not x.is_contiguous():
                gx = gx.flip(0)
            case "mask" if not mask.any():
                gx = g * w
            case "empty" if not len(x):
                return gx, torch.full_like(w, 7), None, None
            case "overflow" if x.abs().max() > 50:
                gx = gx * torch.nan
        return gx, gw.sum(0), None, None


def blocks(fault):
    draw = torch.Generator().manual_seed(0)
    x, w = torch.randn(48, 10, generator=draw), torch.randn(10, generator=draw)
    mask = torch.rand(48, 10, generator=draw) > 0.3
    inputs = (x.requires_grad_(), w.requires_grad_(), mask)
    return lambda x, w, mask: torch.where(mask, x * w, 0), lambda *given: Blocks.apply(*given, fault), inputs


@pytest.mark.parametrize(
    ("fault", "cause", "said"),
    [
        ("whole blocks", "tail", "With inputs of the shapes (1, 2), (2,), (1, 2) it is wrong"),
        ("one row", "wrong-rows", "With inputs of the shapes (1, 2), (2,), (1, 2) it is wrong"),
        ("strides", "stride", "With inputs that do not lie in one piece it is wrong"),
        ("mask", "padding", "With all of the mask off it is wrong"),
        ("empty", "missing-term", "With inputs of the shapes (0, 2), (2,), (0, 2) it is wrong"),
        ("overflow", "", "With inputs a hundred times as large it is wrong"),
    ],
)
def test_what_is_wrong_on_other_inputs_alone(fault, cause, said):
    finding = held(*blocks(fault))
    assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, cause)
    assert finding.message.startswith(f"{said}, though it is right on those given: ")
    (given,) = wp.check_paths(*blocks(fault), elsewhere=False).findings
    assert given.verdict is wp.Verdict.HOLDS


def test_what_is_right_on_other_inputs_too():
    assert held(*blocks("")).verdict is wp.Verdict.HOLDS


@pytest.mark.parametrize(
    ("reference", "candidate"),
    [
        (lambda x: x * 24**-0.5, lambda x: x / x.shape[-1] ** 0.5),  # a size is written down
        (lambda x: x.reshape(-1, 8).sum(-1), lambda x: x.unflatten(-1, (-1, 8)).sum(-1).flatten()),  # others raise
        (lambda x: (x - x.mean(0)) / x.std(0), lambda x: (x - x.mean(0)) / x.var(0).sqrt()),  # one row has no spread
    ],
)
def test_inputs_of_another_kind_are_not_tried(reference, candidate):
    assert held(reference, candidate, tensors(torch.float32)[:1]).verdict is wp.Verdict.HOLDS


def normal(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).requires_grad_()


RIGHT = {
    "float mask": (lambda x, m: x[m.bool()].sum(), lambda x, m: (x * m).sum(), normal(3, 7), (normal(3, 7) > 0).float()),
    "one-hot labels": (
        lambda z, t: F.cross_entropy(z, t), lambda z, t: (torch.logsumexp(z, -1) - (z * t).sum(-1)).mean(),
        normal(8, 5), torch.eye(5)[torch.arange(8) % 5],
    ),
    "permutation": (
        lambda x, p: x[torch.argsort(p)], lambda x, p: torch.zeros_like(x).index_copy(0, p, x),
        normal(16, 5), torch.randperm(16, generator=torch.Generator().manual_seed(0)),
    ),
    "causal mask": (
        lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m),
        lambda q, m: F.scaled_dot_product_attention(q, q, q, is_causal=True), normal(3, 6, 8), torch.ones(6, 6).tril().bool(),
    ),
    "filled mask": (
        lambda q, m: (q @ q.mT).masked_fill(~m, -1e9).softmax(-1) @ q,
        lambda q, m: F.scaled_dot_product_attention(q, q, q, attn_mask=m, scale=1.0), normal(3, 6, 8), normal(6, 6) > -1,
    ),
    "gated": (
        lambda x: F.glu(x), lambda x: x[..., : x.shape[-1] // 2] * torch.sigmoid(x[..., x.shape[-1] // 2 :]), normal(6, 4),
    ),
    "pooled": (lambda x: F.avg_pool1d(x, 2), lambda x: (x[..., ::2] + x[..., 1::2]) / 2, normal(2, 3, 4)),
    "positive": (
        lambda a: a.cumprod(-1), lambda a: a.log().cumsum(-1).exp(), (normal(6, 5).detach().abs() + 0.5).requires_grad_(),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", RIGHT)
def test_right_functions_of_many_kinds(name):
    reference, candidate, *inputs = RIGHT[name]
    finding = held(reference, candidate, tuple(inputs))
    assert finding.verdict is wp.Verdict.HOLDS, finding


def test_functions_that_call_two_tensors_by_one_name():
    def layer(w):
        return lambda x, product=torch.mul: product(x, w)

    tripled = product(lambda gx, gw, x: (gx, 3 * gw))
    f, g = layer(normal(4, seed=1)), layer(normal(4, seed=2))
    finding = held(lambda x: g(f(x)), lambda x: g(f(x, tripled)), (normal(6, 4),))
    assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, "scale")
    config = type("Config", (), {})()
    config.w = normal(4, seed=1)
    finding = held(lambda x, c: x * c.w, lambda x, c: tripled(x, c.w), (normal(6, 4), config))
    assert (finding.verdict, finding.cause) == (wp.Verdict.FAILS, "scale")


def test_parametrized_modules_are_compared():
    def made():
        torch.manual_seed(0)
        return nn.utils.parametrizations.weight_norm(nn.Linear(24, 8))

    finding = held(made(), made(), (tensors(torch.float32)[0],))
    assert finding.verdict is wp.Verdict.HOLDS
    assert "gradients (4)" in finding.message


@pytest.mark.parametrize(("at_zero", "verdict"), [(0.2, "holds"), (1.0, "holds"), (0.0, "fails"), (-1.0, "fails")])
def test_a_kink_has_two_sides_and_what_lies_between(at_zero, verdict):
    class Leaky(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return F.leaky_relu(x, 0.2)

        @staticmethod
        def backward(ctx, g):
            (x,) = ctx.saved_tensors
            return g * ((x > 0) + 0.2 * (x < 0) + at_zero * (x == 0))

    x = normal(16, 16).detach().relu().requires_grad_()
    assert held(lambda x: F.leaky_relu(x, 0.2), Leaky.apply, (x,)).verdict.value == verdict


def test_parts_that_are_made_within_are_gone_after():
    class Lazy(nn.Linear):
        def forward(self, x):
            if "cosine" not in self._buffers:
                self.register_buffer("cosine", torch.ones(3), persistent=False)
                self.extra = nn.Linear(3, 3)
            return super().forward(x) * self.cosine

    model, data = Lazy(8, 3), (torch.randn(16, 8), torch.randint(3, (16,)))
    wp.check_paths(model, nn.CrossEntropyLoss(), data, paths=["checkpoint"])
    assert set(model.state_dict()) == {"weight", "bias"}
    assert not hasattr(model, "cosine")


# --- the implementations of an optimizer -------------------------------------------------------


def optimized(kind=torch.optim.AdamW, **options):
    made = problem()
    optimizer = kind(made.model.parameters(), lr=1e-3, **options)
    made.model(made.batch[0]).square().sum().backward()
    optimizer.step()
    return wp.TorchProblem(made.model, made.loss, made.batch, optimizer=optimizer)


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD, torch.optim.Adagrad])
def test_implementations_of_an_optimizer(kind):
    given = optimized(kind)
    state, before = given.optimizer.state_dict(), [p.detach().clone() for p in given.model.parameters()]
    (finding,) = wp.check_paths(given, paths=("optimizer:foreach", "optimizer:fused")).findings
    assert finding.verdict is wp.Verdict.HOLDS
    assert all(torch.equal(a, b) for a, b in zip(before, given.model.parameters(), strict=True))
    after = given.optimizer.state_dict()
    assert all(map(torch.equal, *(map(torch.as_tensor, tree_leaves(one["state"])) for one in (state, after))))


def test_an_implementation_that_steps_otherwise():
    class Decays(torch.optim.AdamW):
        def step(self, closure=None):
            for group in self.param_groups:
                group["weight_decay"] *= 1.5 if group["fused"] else 1.0
            return super().step(closure)

    report = wp.check_paths(optimized(Decays, weight_decay=0.1), paths=("optimizer:foreach", "optimizer:fused"))
    told = {finding.verdict: finding.message for finding in report.findings}
    assert told[wp.Verdict.FAILS].startswith("On the path optimizer:fused: `output['")
    assert told[wp.Verdict.HOLDS].startswith("On the path optimizer:foreach: Outputs (4) are those of the reference")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (lambda: problem(), "the path optimizer:fused needs an optimizer"),
        (lambda: optimized(torch.optim.RMSprop), "RMSprop has no implementation 'fused'"),
    ],
)
def test_optimizers_that_have_no_such_path(given, said):
    with pytest.raises(wp.InputError, match=said):
        wp.check_paths(given(), paths=["optimizer:fused"])
