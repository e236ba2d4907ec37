"""Checks in training loops: once, on the first steps, and nothing of training changed by it."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import textwrap
import warnings

import pytest
import torch
from torch import nn

import wellposed as wp
from wellposed.loops import checked_training
from wellposed.loops.callback import Reporting

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::PendingDeprecationWarning"
)


@pytest.fixture(autouse=True, scope="module")
def _torchvision():
    """A small build of torch lacks two operators that torchvision asks for as it is imported, which others do for their own ends."""
    kept = None
    if importlib.util.find_spec("torchvision") and not hasattr(torch.ops.torchvision, "nms"):
        kept = torch.library.Library("torchvision", "DEF")
        for operator in ("nms", "qnms"):
            kept.define(f"{operator}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    yield
    del kept


def network(number=4):
    return nn.Sequential(nn.Linear(10, 32), nn.ReLU(), nn.Linear(32, number))


def batch():
    torch.manual_seed(0)
    return torch.randn(32, 10), torch.randint(4, (32,))


def train(model, optimizer, x, y, steps=5):
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


# --- around training ---------------------------------------------------------------------------


def test_around_training_there_are_two_reports():
    model, (x, y) = network(), batch()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    with wp.checked_training(wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, y), optimizer=optimizer)) as checked:
        assert checked.after is None
        train(model, optimizer, x, y, 20)
    assert checked.before.ok
    assert checked.after.ok
    assert checked.after.problem.loss < checked.before.problem.loss


def test_training_is_the_same_with_and_without():
    ends = []
    for watched in (False, True):
        torch.manual_seed(1)
        model, (x, y) = network(), batch()
        model.insert(1, nn.Dropout(0.5))
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        torch.manual_seed(2)
        if watched:
            with wp.checked_training(wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, y), optimizer=optimizer)):
                train(model, optimizer, x, y)
        else:
            train(model, optimizer, x, y)
        ends.append([parameter.detach().clone() for parameter in model.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))


def test_training_does_not_begin_where_something_fails_and_that_is_wanted():
    model = nn.Sequential(network(), nn.Softmax(dim=1))
    with (
        pytest.raises(wp.CheckFailed, match="WP401"),
        checked_training(wp.TorchProblem(model, nn.CrossEntropyLoss(), batch()), fail=True),
    ):
        pytest.fail("training began")


def test_round_every_step_it_warns():
    model, (x, y) = network(), batch()
    problem = wp.TorchProblem(model, nn.CrossEntropyLoss(), (x, y))

    def steps():
        for _ in range(3):
            with checked_training(problem, only=lambda rule: rule.startswith("WP1")):
                pass

    with pytest.warns(
        UserWarning, match=r"checks this model for the third time.*Put it around training, not around every step"
    ):
        steps()


def test_what_is_no_problem_is_told_so():
    with pytest.raises(wp.InputError, match="a check needs a problem, not a Sequential"), checked_training(network()):
        pass


# --- once --------------------------------------------------------------------------------------


def test_once_is_once(capsys):
    callback = Reporting(steps=3, only=lambda rule: rule in ("WP101", "WP602"))
    x, y = batch()
    for _ in range(2):
        model = network()
        optimizer = torch.optim.Adam(model.parameters(), 1e-2)
        callback._begin()
        for _ in range(5):
            train(model, optimizer, x, y, 1)
            callback._stepped()
        callback._end()
    assert callback.report.ok
    assert "3 steps watched" in str(callback.report)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("wellposed: ok") == 1


def test_where_nothing_is_seen_it_warns_and_training_goes_on():
    callback = Reporting()
    callback._begin()
    with pytest.warns(UserWarning, match="wellposed saw no step of this training"):
        callback._end()
    assert callback.report is None


def test_where_it_cannot_check_it_warns_and_training_goes_on():
    def problem():
        raise wp.InputError("there is no batch")

    def other():
        raise ZeroDivisionError("of the user's own")

    with pytest.warns(UserWarning, match="could not check this training: ZeroDivisionError: of the user's own"):
        Reporting()._check(other)
    callback = Reporting()
    with pytest.warns(UserWarning, match="wellposed could not check this training: there is no batch"):
        callback._check(problem)
    assert callback.report is None


def test_of_a_training_that_raised_nothing_is_left():
    zero_grad = torch.optim.Optimizer.zero_grad
    first, second = Reporting(show=False), Reporting(show=False)
    first._begin()
    second._begin()
    second._raised()
    assert first.report is second.report is None
    assert torch.optim.Optimizer.zero_grad is zero_grad


def test_what_trains_after_a_training_that_raised_is_not_looked_at():
    def fit(callback):
        callback._begin(during="fit")
        raise ZeroDivisionError

    callback = Reporting(fail=True)
    with pytest.raises(ZeroDivisionError):
        fit(callback)
    model = nn.Sequential(network(), nn.Softmax(1))
    train(model, torch.optim.Adam(model.parameters()), *batch())
    callback._leave()
    assert callback.report is None


def test_a_training_that_is_begun_again_is_looked_at(capsys):
    callback = Reporting(only=lambda rule: rule == "WP602")
    for _ in range(2):  # as where a batch was too large
        callback._begin()
    model = network()
    train(model, torch.optim.Adam(model.parameters()), *batch())
    callback._end()
    assert callback.report.ok
    assert "5 steps watched" in capsys.readouterr().err


# --- Lightning ---------------------------------------------------------------------------------


def lightning_module(loss=nn.CrossEntropyLoss(), softmax=False):  # noqa: B008
    import pytorch_lightning as pl

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = nn.Sequential(network(), nn.Softmax(dim=1)) if softmax else network()
            self.steps = 0

        def training_step(self, batch, index):
            x, y = batch
            value = loss(self.model(x), y)
            self.log("loss", value)
            return {"loss": value}

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

        def on_train_batch_end(self, *_):
            self.steps += 1

    return Module()


def fitted(module, *callbacks, folder, **options):
    import logging

    import pytorch_lightning as pl

    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    x, y = batch()
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(x, y), batch_size=8, shuffle=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            max_epochs=2, accelerator="cpu", callbacks=list(callbacks), logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, default_root_dir=folder, **options,
        )  # fmt: skip
        trainer.fit(module, loader)
    return trainer


def test_lightning_checks_the_first_batch_once_and_trains_as_without(tmp_path, capsys):
    from wellposed.loops import LightningCheckup

    ends = []
    for callbacks in ((), (LightningCheckup(),)):
        torch.manual_seed(3)
        module = lightning_module()
        torch.manual_seed(4)
        trainer = fitted(module, *callbacks, folder=tmp_path)
        assert module.steps == 8
        assert "loss" in trainer.callback_metrics
        ends.append([parameter.detach().clone() for parameter in module.parameters()])
    assert all(torch.equal(one, other) for one, other in zip(*ends, strict=True))
    report = callbacks[0].report
    assert report.ok
    assert {"WP101", "WP402", "WP501", "WP601", "WP604"} <= held(report)
    assert capsys.readouterr().err.count("wellposed: ok") == 1


def test_lightning_stops_where_something_fails_and_that_is_wanted(tmp_path):
    from wellposed.loops import LightningCheckup

    module = lightning_module(softmax=True)
    with pytest.raises(wp.CheckFailed, match="WP401"):
        fitted(module, LightningCheckup(fail=True, show=False), folder=tmp_path)
    assert module.steps == 0


def test_lightning_leaves_metrics_and_counters_as_they_were(tmp_path):
    import pytorch_lightning as pl

    from wellposed.loops import LightningCheckup

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.model, self.count, self.at = network(), 0, []

        def training_step(self, batch):
            self.count += 1
            self.at.append(self.trainer.global_step)
            return nn.functional.cross_entropy(self.model(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    module, callback = Module(), LightningCheckup(show=False)
    fitted(module, callback, folder=tmp_path)
    assert module.count == 8
    assert module.at == list(range(8))
    assert callback.report is not None


def test_lightning_by_hand_is_checked_too(tmp_path):
    import pytorch_lightning as pl

    from wellposed.loops import LightningCheckup

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.model, self.automatic_optimization, self.taken = network(), False, 0

        def training_step(self, batch, index):
            optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(nn.functional.cross_entropy(self.model(batch[0]), batch[1]))
            optimizer.step()
            self.taken += 1

        def configure_optimizers(self):
            return torch.optim.Adam(self.parameters(), 1e-2)

    module, callback = Module(), LightningCheckup(show=False)
    fitted(module, callback, folder=tmp_path)
    assert module.taken == 8
    assert {"WP101", "WP402", "WP501", "WP602"} <= held(callback.report)


def held(report):
    return {finding.rule for finding in report.findings if finding.verdict is wp.Verdict.HOLDS}


def test_lightning_sees_what_the_trainer_does_to_gradients(tmp_path):
    from wellposed.loops import LightningCheckup

    callback = LightningCheckup(show=False)
    fitted(lightning_module(), callback, folder=tmp_path, gradient_clip_val=1e-9)
    told = {finding.rule: finding for finding in callback.report.findings}
    assert told["WP604"].cause == "eps-dominates"
    callback = LightningCheckup(show=False)
    fitted(lightning_module(), callback, folder=tmp_path, accumulate_grad_batches=2, gradient_clip_val=1.0)
    assert {"WP402", "WP601", "WP603"} <= held(callback.report)


# --- transformers ------------------------------------------------------------------------------


def collated(rows):
    """A collator that draws, as those of masked language models do."""
    from transformers import default_data_collator

    batch = default_data_collator(rows)
    batch["input_ids"] = torch.where(torch.rand(batch["input_ids"].shape) < 0.15, 1, batch["input_ids"])
    return batch


def trained(folder, callbacks, seed=5):
    from transformers import BertConfig, BertForSequenceClassification, Trainer, TrainingArguments

    torch.manual_seed(seed)
    config = BertConfig(
        vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32, num_labels=3
    )
    model = BertForSequenceClassification(config)
    draw = torch.Generator().manual_seed(0)
    rows = [
        {"input_ids": torch.randint(50, (12,), generator=draw), "labels": int(torch.randint(3, (1,), generator=draw))}
        for _ in range(32)
    ]
    arguments = TrainingArguments(
        output_dir=str(folder), per_device_train_batch_size=8, max_steps=4, report_to=[], use_cpu=True, save_strategy="no",
        logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Trainer(model=model, args=arguments, train_dataset=rows, callbacks=callbacks, data_collator=collated).train()
    return model


def test_trainer_checks_the_first_steps_once_and_trains_as_without(tmp_path):
    from wellposed.loops import TrainerCheckup

    callback = TrainerCheckup(show=False)
    plain, watched = trained(tmp_path, []), trained(tmp_path, [callback])
    assert all(torch.equal(one, other) for one, other in zip(plain.parameters(), watched.parameters(), strict=True))
    assert callback.report is not None
    assert {"WP402", "WP501", "WP601", "WP603"} <= held(callback.report)
    assert callback.report.problem.parameters == sum(parameter.numel() for parameter in watched.parameters())


# --- Keras -------------------------------------------------------------------------------------

_KERAS = """
import numpy as np, keras, sys
from wellposed.loops import KerasCheckup
keras.utils.set_random_seed(0)
x = np.random.default_rng(0).standard_normal((64, 10)).astype("float32")
y = np.random.default_rng(1).integers(0, 4, 64)
batch = (x[:32], y[:32]) if keras.backend.backend() == "jax" else ()
for ending in (None, "softmax"):
    model = keras.Sequential([keras.Input((10,)), keras.layers.Dense(32, "relu"), keras.layers.Dense(4, ending)])
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    callback = KerasCheckup(*batch, show=False)
    model.fit(x, y, epochs=2, verbose=0, callbacks=[callback])
    told = {finding.rule: finding.verdict.value for finding in callback.report.findings}
    print(keras.backend.backend(), ending, callback.report.problem.backend, told["WP501"], callback.report.ok)
"""


@pytest.mark.parametrize("backend", ["torch", "jax"])
def test_keras_on_both_backends(backend):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_KERAS)], capture_output=True, text=True, check=False, timeout=300,
        env={**os.environ, "KERAS_BACKEND": backend, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    first = done.stdout.splitlines()[0]
    # Keras computes its loss in float32: what that hides of a bias's gradient is undecided.
    about = {"torch": "torch, no step watched", "jax": "jax"}[backend]
    assert first in (f"{backend} None {about} {told} True" for told in ("holds", "undecided"))


def test_keras_on_jax_without_a_batch_says_so():
    code = "import os; os.environ['KERAS_BACKEND'] = 'jax'; from wellposed.loops import KerasCheckup; KerasCheckup()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert "on JAX, KerasCheckup takes a batch, as Keras compiles its steps" in done.stderr


def test_keras_on_another_backend_says_so():
    code = "import sys, types, os; os.environ['KERAS_BACKEND'] = 'numpy'; from wellposed.loops import KerasCheckup; KerasCheckup(0, 0)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=120)
    assert "KerasCheckup works with the torch and jax backends, and this is numpy" in done.stderr
