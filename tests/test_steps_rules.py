"""WP601 to WP606: each fault of a step is named, in a loop that is otherwise right."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, Subset, TensorDataset

import wellposed as wp
from wellposed.backends.torch.watching.rows import Origins, apart
from wellposed.backends.watched import SeenBackward, SeenOptimizer, SeenStep, Watched
from wellposed.steps.neighbours import learnable
from wellposed.steps.rules.fresh import FRESH


def data(rows=64):
    torch.manual_seed(0)
    x = torch.randn(rows, 6)
    return x, (x[:, :3].argmax(1))


def network():
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, 3))


def found(loop, **options):
    with wp.watch(only=lambda rule: rule.startswith("WP6"), **options) as watched:
        loop()
    return {(finding.rule, finding.cause): finding for finding in watched.report.findings if finding.found}


def loop(
    *, clear="before", clip=None, divide=True, accumulate=1, sgd=True, make=None, schedule=None, step_schedule="after",
    batches=None, rate=0.1, seed=False, steps=8,
):  # fmt: skip
    """A training loop with one thing or another done otherwise."""

    def run():
        x, y = data()
        net = network()
        optimizer = make(net) if make else (torch.optim.SGD if sgd else torch.optim.Adam)(net.parameters(), rate)
        scheduler = schedule(optimizer) if schedule else None
        for number in range(steps):
            if clear == "before":
                optimizer.zero_grad()
            if scheduler is not None and step_schedule == "before":
                scheduler.step()
            for micro in range(accumulate):
                if seed:
                    torch.manual_seed(7)
                rows = slice(16 * micro, 16 * micro + 16) if batches is None else batches(number)
                inputs = x[rows] + (0.1 * torch.randn(16, 6) if seed else 0)
                loss = F.cross_entropy(net(inputs), y[rows])
                (loss / accumulate if divide else loss).backward()
                if clear == "within":
                    optimizer.zero_grad()
            if clip and clip[0] == "before":
                nn.utils.clip_grad_norm_(net.parameters(), clip[1])
            optimizer.step()
            if clip and clip[0] == "after":
                nn.utils.clip_grad_norm_(net.parameters(), clip[1])
            for _ in range({"after": 1, "twice": 2}.get(step_schedule, 0) if scheduler else 0):
                scheduler.step()

    return run


def exponential(optimizer):
    return torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.99)


FAULTS = {
    ("WP601", "never-cleared"): loop(clear="never"),
    ("WP601", "cleared-too-early"): loop(clear="within"),
    ("WP601", "not-divided"): loop(accumulate=4, divide=False),
    ("WP603", "after-step"): loop(clip=("after", 0.1)),
    ("WP603", "clipped-to-nothing"): loop(clip=("before", 1e-6)),
    ("WP604", "too-early"): loop(schedule=exponential, step_schedule="before"),
    ("WP604", "never-moves"): loop(rate=0.0),
    ("WP604", "eps-dominates"): loop(make=lambda net: torch.optim.Adam(net.parameters(), 1e-3, eps=10.0)),
    ("WP605", "same-augmentation"): loop(
        seed=True, batches=lambda number: slice(16 * (number % 4), 16 * (number % 4) + 16)
    ),
    ("WP605", "same-batch"): loop(seed=True),
}
RIGHT = {
    "plain": loop(),
    "cleared after": loop(clear="before"),
    "accumulated": loop(accumulate=4),
    "clipped": loop(clip=("before", 1.0)),
    "clipped hard by Adam": loop(clip=("before", 1e-3), sgd=False),
    "scheduled": loop(schedule=exponential),
    "warm-up from zero": loop(schedule=lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: min(1.0, step / 5))),
    "scheduled by epoch": loop(schedule=lambda o: torch.optim.lr_scheduler.StepLR(o, 1), step_schedule="never"),
    "undivided, scale-free": loop(accumulate=4, divide=False, sgd=False),
}


@pytest.mark.filterwarnings("ignore:Detected call of `lr_scheduler.step:UserWarning")
@pytest.mark.parametrize("fault", FAULTS, ids="-".join)
def test_a_fault_is_named(fault):
    seen = found(FAULTS[fault])
    assert fault in seen
    assert "test_steps_rules.py:" in seen[fault].where + seen[fault].message or seen[fault].where


@pytest.mark.parametrize("name", RIGHT)
def test_a_right_loop_is_silent(name):
    assert found(RIGHT[name]) == {}


def test_never_cleared_says_where_and_what():
    finding = found(FAULTS["WP601", "never-cleared"])["WP601", "never-cleared"]
    assert finding.verdict is wp.Verdict.FAILS
    assert (
        "of 100 % of its tensors still hold what backward passes before its last step left"
        in finding.message.replace("gradients ", "")
    )


def test_schedule_stepped_twice():
    assert ("WP604", "too-early") in found(loop(schedule=exponential, step_schedule="twice"))


def adversarial(*, clear_judge=True, clear_instead=False, one_optimizer=False, twice=False):
    def run():
        torch.manual_seed(0)
        maker, judge = nn.Linear(3, 6), nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))
        x, _ = data(16)
        both = [*maker.parameters(), *judge.parameters()]
        of_maker = torch.optim.SGD(both if one_optimizer else maker.parameters(), 0.1)
        of_judge = of_maker if one_optimizer else torch.optim.SGD(both if twice else judge.parameters(), 0.1)
        for _ in range(8):
            if clear_judge:
                of_judge.zero_grad()
            fake = maker(torch.randn(16, 3))
            (F.softplus(-judge(x)).mean() + F.softplus(judge(fake.detach())).mean()).backward()
            of_judge.step()
            if not clear_judge:
                of_judge.zero_grad()
            (of_judge if clear_instead else of_maker).zero_grad()
            F.softplus(-judge(fake)).mean().backward()
            of_maker.step()

    return run


def test_two_networks():
    assert found(adversarial()) == {}
    assert ("WP602", "leaks-into-other") in found(adversarial(clear_judge=False))
    assert ("WP601", "other-optimizer") in found(adversarial(clear_instead=True))
    assert ("WP602", "leaks-into-other") in found(adversarial(one_optimizer=True))


def trained(optimizers, *, change=lambda net: None):
    def run():
        x, y = data()
        net = network()
        steppers = optimizers(net)
        change(net)
        for _ in range(6):
            net.zero_grad()
            F.cross_entropy(net(x), y).backward()
            for stepper in steppers:
                stepper.step()

    return run


def replaced(net):
    net[2] = nn.Linear(16, 3)


def test_what_is_trained():
    sgd = torch.optim.SGD
    assert found(trained(lambda net: [sgd(net.parameters(), 0.1)])) == {}
    seen = found(trained(lambda net: [sgd(net[0].parameters(), 0.1)]))
    assert seen["WP602", "not-in-optimizer"].where == "2.weight"
    seen = found(trained(lambda net: [sgd(net.parameters(), 0.1)], change=replaced))
    assert seen["WP602", "replaced"].verdict is wp.Verdict.FAILS
    seen = found(trained(lambda net: [sgd(net.parameters(), 0.1), sgd(net[2].parameters(), 0.1)]))
    assert seen["WP602", "in-two"].where == "2.weight"
    split = found(trained(lambda net: [sgd(net[0].parameters(), 0.1), sgd(net[2].parameters(), 0.1)]))
    assert split == {}


@pytest.mark.parametrize("cut", [lambda hidden: hidden.detach(), lambda hidden: torch.tensor(hidden.tolist())])
def test_an_optimizer_that_no_loss_reaches(cut):
    def run(*, cut=lambda hidden: hidden, by_hand=False, steps=6):
        x, y = data()
        net = network()
        made = [torch.optim.Adam(net[0].parameters(), 0.1), torch.optim.Adam(net[2].parameters(), 0.1)]
        for number in range(6):
            net.zero_grad()
            loss = F.cross_entropy(net[2](cut(net[1](net[0](x)))), y)
            loss.backward()
            if by_hand:
                for parameter in net[0].parameters():
                    parameter.grad = torch.ones_like(parameter)
            for optimizer in made if number < steps else made[1:]:
                optimizer.step()

    seen = found(lambda: run(cut=cut))
    finding = seen["WP602", "unreached"]
    assert finding.verdict is wp.Verdict.FAILS
    assert "6 times, and none of its 2 tensors has a gradient: no loss reaches what it trains." in finding.message
    assert found(run) == {}
    assert ("WP602", "unreached") not in found(lambda: run(cut=cut, by_hand=True))
    assert ("WP602", "unreached") not in found(lambda: run(cut=cut, steps=1))


def test_a_closure_gives_the_gradient_that_a_step_needs():
    def run():
        x, y = data()
        net = network()
        optimizer = torch.optim.LBFGS(net.parameters(), 0.1)

        def closure():
            optimizer.zero_grad()
            loss = F.cross_entropy(net(x), y)
            loss.backward()
            return loss

        for _ in range(4):
            optimizer.step(closure)

    assert ("WP602", "unreached") not in found(run)


def test_clipping_before_unscaling():
    def run(*, right):
        x, y = data()
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
        for _ in range(6):
            optimizer.zero_grad()
            scaler.scale(F.cross_entropy(net(x), y)).backward()
            if right:
                scaler.unscale_(optimizer)
            nn.utils.clip_grad_norm_(net.parameters(), 1.0)
            scaler.step(optimizer)
            scaler.update()

    assert found(lambda: run(right=True)) == {}
    finding = found(lambda: run(right=False))["WP603", "before-unscale"]
    assert (
        "while the scaler still multiplies it by 1024: the limit works like 0.000977 where 1 is written"
        in finding.message
    )


def test_updates_below_rounding():
    def run(dtype):
        x, y = data()
        net = network().to(dtype)
        optimizer = torch.optim.Adam(net.parameters(), 1e-5)
        for _ in range(6):
            optimizer.zero_grad()
            F.cross_entropy(net(x.to(dtype)), y).backward()
            optimizer.step()

    assert found(lambda: run(torch.float32)) == {}
    finding = found(lambda: run(torch.bfloat16))["WP604", "below-rounding"]
    assert "below half a unit in the last place in bfloat16" in finding.message


def batches(*, order=None, targets_order=None, fetch="each", validation=None, steps=8):
    def run():
        x, y = data(320)
        if targets_order is not None:
            y = y[torch.randperm(320, generator=torch.Generator().manual_seed(targets_order))]
        loader = DataLoader(TensorDataset(x, y), batch_size=32, shuffle=order is not None)
        held_out = None if validation is None else DataLoader(TensorDataset(*validation(x, y)), batch_size=32)
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        iterator = iter(loader)
        for _ in range(steps):
            inputs, wanted = next(iter(loader)) if fetch == "anew" else next(iterator)
            optimizer.zero_grad()
            F.cross_entropy(net(inputs), wanted).backward()
            optimizer.step()
        del held_out

    return run


def elsewhere(x, y):
    return torch.randn(64, 6), torch.zeros(64, dtype=torch.long)


def test_data_of_successive_steps():
    assert found(batches()) == {}
    assert found(batches(order=True, validation=elsewhere)) == {}
    assert list(found(batches(fetch="anew"))) == [("WP605", "same-batch")]
    assert list(found(batches(targets_order=3))) == [("WP605", "shuffled-apart")]
    assert list(found(batches(validation=lambda x, y: (x[:64], y[:64])))) == [("WP605", "leak")]


def test_parts_of_one_data_set_that_overlap():
    def run(first, second):
        x, y = data(320)
        whole = TensorDataset(x, y)
        loaders = [DataLoader(Subset(whole, part), batch_size=32) for part in (first, second)]
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for inputs, wanted in loaders[0]:
            optimizer.zero_grad()
            F.cross_entropy(net(inputs), wanted).backward()
            optimizer.step()

    assert found(lambda: run(range(256), range(256, 320))) == {}
    assert ("WP605", "leak") in found(lambda: run(range(256), range(200, 320)))


def test_rows_shuffled_apart_in_the_loop():
    def run(*, together):
        x, y = data(128)
        net = network()
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        order = torch.randperm(128)
        x = x[order]
        y = y[order] if together else y
        for start in range(0, 128, 16):
            optimizer.zero_grad()
            F.cross_entropy(net(x[start : start + 16]), y[start : start + 16]).backward()
            optimizer.step()

    assert found(lambda: run(together=True)) == {}
    assert list(found(lambda: run(together=False))) == [("WP605", "shuffled-apart")]


@given(st.integers(0, 2**16), st.integers(-3, 3))
def test_rows_taken_by_one_index_are_together_and_by_two_are_apart(seed, ahead):
    draw = np.random.default_rng(seed)
    index, other = (torch.as_tensor(draw.permutation(90)[:20] + 5) for _ in range(2))
    x, y = torch.zeros(100, 2), torch.zeros(100)
    origins = Origins()

    def take(tensor, rows):
        made = tensor[rows]
        origins.note("__getitem__", (tensor, rows), {}, made)
        return made

    one, two, three = take(x, index), take(y, index + ahead), take(y, other)
    assert not apart([origins.of(one)], origins.of(two))
    assert apart([origins.of(one)], origins.of(three)) == bool((index != other).any())


@given(st.integers(0, 1000), st.booleans())
def test_neighbours_tell_targets_from_shuffled_ones(seed, classes):
    draw = np.random.default_rng(seed)
    x = draw.standard_normal((300, 4))
    y = (x[:, 0] > 0).astype(int) if classes else x[:, 0] + x[:, 1]
    assert learnable(x, y).deviations > 5
    assert learnable(x, draw.permutation(y)).deviations < 5


def test_neighbours_say_nothing_of_what_they_cannot_know():
    x = np.random.default_rng(0).standard_normal((300, 4))
    assert learnable(x[:50], x[:50, 0]) is None
    assert learnable((x * 10).astype(int), x[:, 0]) is None
    assert learnable(x, np.arange(300)) is None
    assert learnable(x, np.zeros(300)) is None


def test_a_step_of_an_optimizer_that_nothing_is_known_of():
    assert [f.verdict for f in FRESH.findings(Watched())] == [wp.Verdict.NOT_APPLICABLE]
    seen = Watched(
        [SeenStep(0, "a.py:2", own=(0,), lost=1.0, lost_from=(1,))],
        [SeenBackward(0, "a.py:1", 1.0, 1), SeenBackward(1, "a.py:9", 1.0, 2)],
        [SeenOptimizer("optimizer", "SGD", 1, 1)],
    )
    # What another line's backward pass gave, and what was cleared, was for something else.
    assert [f.verdict for f in FRESH.findings(seen)] == [wp.Verdict.HOLDS]


class Run:
    def __init__(self):
        torch.manual_seed(0)
        self.model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.ReLU(), nn.Linear(8, 1))
        self.optimizer = torch.optim.Adam(self.model.parameters(), 1e-2)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 2, 0.5)
        self.average = nn.Linear(8, 1)
        self.average.load_state_dict(self.model[4].state_dict())

    def step(self):
        x = torch.randn(16, 4)
        loss = (self.model(x) - x.sum(1, keepdim=True)).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        self.scheduler.step()
        with torch.no_grad():
            for mean, now in zip(self.average.parameters(), self.model[4].parameters(), strict=True):
                mean.lerp_(now, 0.1)
        return loss.item()


PARTS = ("model", "optimizer", "scheduler", "average")


def resumed(*left_out, generator=True, buffers=True):
    def save(run):
        kept = {name: getattr(run, name).state_dict() for name in PARTS if name not in left_out}
        if not buffers:
            kept["model"] = {k: v for k, v in kept["model"].items() if "running" not in k and "num" not in k}
        return kept | ({"generator": torch.get_rng_state()} if generator else {})

    def load(run, kept):
        for name in PARTS:
            if name in kept:
                getattr(run, name).load_state_dict(kept[name], **({"strict": buffers} if name == "model" else {}))
        if "generator" in kept:
            torch.set_rng_state(kept["generator"])

    report = wp.check_resume(Run, save, load)
    return [finding.cause for finding in report.findings]


@pytest.mark.parametrize(
    ("made", "causes"),
    [
        (lambda: resumed(), [""]),
        (lambda: resumed("optimizer"), ["not-saved:optimizer"]),
        (lambda: resumed("scheduler"), ["not-saved:scheduler"]),
        (lambda: resumed("average"), ["not-saved:ema"]),
        (lambda: resumed(generator=False), ["not-saved:generator"]),
        (lambda: resumed(buffers=False), ["not-saved:buffers"]),
        (lambda: resumed("optimizer", "average"), ["not-saved:ema", "not-saved:optimizer"]),
    ],
)
def test_the_part_that_was_not_saved_is_named(made, causes):
    assert sorted(made()) == causes


def test_resuming_says_what_is_wrong_with_what_it_is_given():
    def keep(run):
        return {}

    with pytest.raises(wp.InputError, match=r"make\(\) must return an object with a method step\(\), not a Linear"):
        wp.check_resume(lambda: nn.Linear(1, 1), keep, lambda run, kept: None)
    with pytest.raises(wp.InputError, match="k must be a whole number of steps of at least 1, not 0"):
        wp.check_resume(Run, keep, lambda run, kept: None, k=0)
    with pytest.raises(wp.InputError, match="save must be a function, not a NoneType"):
        wp.check_resume(Run, None, keep)
    noise = iter(range(1000))

    class Restless(Run):
        def step(self):
            return next(noise)

    with pytest.raises(wp.InputError, match="two runs that are not interrupted differ"):
        wp.check_resume(Restless, keep, lambda run, kept: None)
