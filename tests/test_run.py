"""`wellposed run`: a script as itself, its report, its exit status, and every way in which it can go otherwise."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import get_type_hints

import pytest
import torch

import wellposed as wp
from wellposed.cli import main
from wellposed.commands.run import _FLAGS
from wellposed.commands.run import run as run_command
from wellposed.findings import Finding
from wellposed.places import place_in

TRAINING = """
import sys
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
x = torch.randn(64, 4)
y = (x[:, 0] > 0).long()


def train(steps):
    for step in range(steps):
        rows = torch.randperm(64)[:16]
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(net(x[rows]), y[rows])
        loss.backward()
        optimizer.step()
    print("trained", steps, round(float(loss.detach()), 6))


if __name__ == "__main__":
    print("arguments", sys.argv[1:], __name__)
    train(12)
"""


@pytest.fixture
def script(tmp_path):
    def write(text=TRAINING, name="train.py"):
        file = tmp_path / name
        file.write_text(textwrap.dedent(text))
        return str(file)

    return write


def run(capsys, *words):
    status = main(["run", *words])
    said = capsys.readouterr()
    return status, said.out, said.err


def test_a_script_is_checked_at_its_first_step_and_ends(script, capsys):
    status, out, err = run(capsys, script(), "--epochs", "3")
    assert status == 0
    assert "arguments ['--epochs', '3'] __main__" in out
    assert "trained" not in out
    assert re.search(r"wellposed: ok \(\d+ hold, \d+ not applicable\)\ntorch, 8 steps watched; 58 parameters", out)
    assert err == ""


def test_it_can_go_on_and_its_status_is_its_own(script, capsys):
    alone = subprocess.run([sys.executable, script()], capture_output=True, text=True, check=True)
    status, out, _ = run(capsys, "--continue", script())
    assert status == 0
    assert alone.stdout.splitlines()[-1] in out
    status, out, _ = run(capsys, "--continue", script(TRAINING + "    sys.exit(5)\n"))
    assert status == 5
    assert "trained 12" in out


def test_what_fails_is_told_by_the_status(script, capsys):
    status, out, _ = run(capsys, script(TRAINING.replace("optimizer.zero_grad()", "pass")))
    assert status == 1
    assert re.search(r"WP601 the gradient is not this step's  at train.py:\d+", out)
    assert "never-cleared" in out


def test_rules_are_chosen_and_json_stands_alone(script, capsys):
    status, out, err = run(capsys, "--select", "WP6", "--json", "-", script())
    told = json.loads(out)
    assert status == 0
    assert told["ok"]
    assert {finding["rule"] for finding in told["findings"]} == {f"WP60{k}" for k in range(1, 7)}
    assert "arguments" in err  # what the script prints


def test_later_steps(script, capsys):
    _, first, _ = run(capsys, "--select", "WP401", "--json", "-", script())
    _, later, _ = run(capsys, "--select", "WP401", "--step", "5", "--json", "-", script())
    losses = [json.loads(out)["problem"]["loss"] for out in (first, later)]
    assert losses[0] != losses[1]


def test_a_module_of_a_package_with_relative_imports(tmp_path, capsys, monkeypatch):
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "steps.py").write_text("COUNT = 9\n")
    text = TRAINING.replace("train(12)", "train(COUNT)").replace(
        "import sys\n", "import sys\nfrom .steps import COUNT\n"
    )
    (package / "train.py").write_text(text)
    monkeypatch.chdir(tmp_path)
    status, out, _ = run(capsys, "--continue", "-m", "pack.train")
    assert status == 0
    assert "trained 9" in out


def test_classes_of_the_script_can_be_pickled(script, capsys):
    text = (
        TRAINING
        + "    import pickle\n    pickle.loads(pickle.dumps(train))\n    print(sys.modules['__main__'].x is x)\n"
    )
    status, out, _ = run(capsys, "--continue", script(text))
    assert status == 0
    assert out.rstrip().count("True") == 1


MESSAGES = {
    "no file": (["missing.py"], None, "missing.py does not exist.\n\nHint: wellposed run [options] train.py"),
    "no training": ([], "print('nothing')", "ended without a training step: nothing called backward()"),
    "raises": ([], "import torch\nraise ValueError('of its own')", "raised before its first training step"),
    "syntax": ([], "def broken(:", "raised before its first training step"),
    "bad option": (["--steps", "0"], "pass", "steps must be a whole number of at least 1, not 0"),
    "late": (["--timeout", "0.5"], "import time\ntime.sleep(30)", "took no training step within 0.5 seconds"),
}


@pytest.mark.parametrize("case", MESSAGES)
def test_one_clear_message(case, script, capsys):
    words, text, said = MESSAGES[case]
    words = words if text is None else [*words, script(text)]
    status, _, err = run(capsys, *words)
    assert status == 2
    assert " ".join(said.split()) in " ".join(err.split())
    assert err.count("Traceback") == (case in ("raises", "syntax")) - (case == "syntax")


def test_the_traceback_is_the_scripts_own(script, capsys):
    status, _, err = run(capsys, script(TRAINING.replace("train(12)", "train(3)\n    raise KeyError('late')")))
    assert status == 1
    assert "KeyError: 'late'" in err
    assert "running.py" not in err


def test_check_says_that_it_is_a_training_script_without_running_it(script, capsys):
    file = script(TRAINING.replace("torch.manual_seed(0)", "raise SystemExit('it ran')"))
    assert main(["check", file]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "defines no 'problem': this is a training script" in said
    assert "Hint: wellposed run" in said


def test_a_problem_file_goes_on_from_there(script, capsys, tmp_path):
    out = str(tmp_path / "problem.py")
    assert main(["run", "--save-problem", out, script()]) == 0
    capsys.readouterr()
    text = (tmp_path / "problem.py").read_text()
    assert "return a1" in text
    assert "a1 = F.cross_entropy(outputs, targets)" in text
    assert "wp.seen_in(Path(__file__).parent / 'train.py', [], step=1)[0]" in text
    _, shown, _ = run(capsys, "--select", "WP401", "--json", "-", script())
    assert main(["check", "--select", "WP401", "--json", "-", out]) == 0
    again = json.loads(capsys.readouterr().out)
    assert again["problem"]["loss"] == json.loads(shown)["problem"]["loss"]


def test_a_problem_file_is_not_written_over_the_script(script, capsys):
    file = script()
    assert main(["run", "--save-problem", file, file]) == 2
    assert "def train" in Path(file).read_text()


def test_seen_in_gives_the_losses_of_several_networks(script):
    text = """
    import torch
    from torch import nn

    a, b = nn.Linear(3, 3), nn.Linear(3, 1)
    of_a, of_b = torch.optim.SGD(a.parameters(), 0.1), torch.optim.SGD(b.parameters(), 0.1)
    for _ in range(3):
        fake = a(torch.ones(4, 3))
        of_b.zero_grad()
        b(fake.detach()).square().mean().backward()
        of_b.step()
        of_a.zero_grad()
        (-b(fake)).mean().backward()
        of_a.step()
    """
    seen = wp.seen_in(script(text))
    assert [one.paired for one in seen] == [False, False]
    assert [type(one.model).__name__ for one in seen] == ["Linear", "Module"]


def test_seen_in_says_where_nothing_is_trained(script):
    with pytest.raises(wp.InputError, match="ended without a training step"):
        wp.seen_in(script("x = 1"))


def test_a_script_that_goes_on_and_does_not_train_is_told_so(script, capsys):
    status, out, err = run(capsys, "--continue", script("print('done')"))
    assert (status, out) == (0, "done\n")
    assert "ended without a training step: nothing called backward()" in err


def test_a_checkpoint_that_lacks_a_part_is_told_in_the_run(script, capsys, tmp_path):
    text = """
    import sys
    import torch
    from torch import nn


    def make():
        torch.manual_seed(0)
        net = nn.Linear(4, 2)
        return net, torch.optim.Adam(net.parameters(), 1e-2)


    def train(net, optimizer, steps):
        for _ in range(steps):
            optimizer.zero_grad()
            net(torch.randn(8, 4)).square().mean().backward()
            optimizer.step()


    net, optimizer = make()
    train(net, optimizer, 10)
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": 10}, sys.argv[1])
    net, optimizer = make()
    kept = torch.load(sys.argv[1])
    net.load_state_dict(kept["net"])
    optimizer.load_state_dict(kept["optimizer"])
    torch.manual_seed(1)
    train(net, optimizer, 10)
    """
    file = str(tmp_path / "kept.pt")
    others = torch.nn.LazyLinear(2), torch.nn.Linear(2, 2, device="meta")  # alive, and of no shape or no values
    _, out, _ = run(capsys, "--continue", "--select", "WP606", "--verbose", script(text), file)
    del others
    assert "holds" in out
    _, out, _ = run(capsys, "--continue", "--select", "WP606", script(text.replace("torch.manual_seed(1)", "")), file)
    assert "not-saved:generator" in out
    faulty = text.replace('optimizer.load_state_dict(kept["optimizer"])', "")
    _, out, _ = run(capsys, "--continue", "--select", "WP606", script(faulty), file)
    assert "not-saved:optimizer" in out


def test_under_torchrun_the_first_rank_tells(script, tmp_path):
    text = """
    import torch
    import torch.distributed as dist
    from torch import nn
    from torch.nn.parallel import DistributedDataParallel

    dist.init_process_group("gloo")
    torch.manual_seed(0)
    net = DistributedDataParallel(nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)))
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    torch.manual_seed(dist.get_rank())
    for _ in range(4):
        x = torch.randn(16, 4)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x), (x[:, 0] > 0).long()).backward()
        optimizer.step()
    dist.destroy_process_group()
    """
    words = ["--standalone", "--nproc-per-node", "2", "-m", "wellposed", "run", "--steps", "3", script(text)]
    done = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", *words],
        capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("wellposed: ok") == 1
    assert "could not be" not in done.stdout


def test_jax_steps_are_seen_jitted_or_not(script, capsys):
    text = """
    import jax
    import jax.numpy as jnp

    key = jax.random.PRNGKey(0)
    params = {"w": 0.5 * jax.random.normal(key, (4, 1)), "b": jnp.zeros(1)}
    x = jax.random.normal(jax.random.PRNGKey(1), (32, 4))
    y = x @ jnp.arange(4.0)[:, None]


    def loss(params, x, y):
        return jnp.mean((x @ params["w"] + params["b"] - y) ** 2)


    DECORATED
    def step(params, x, y):
        value, slope = jax.value_and_grad(loss)(params, x, y)
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, slope), value


    for _ in range(5):
        params, value = step(params, x, y)
    print("value", float(value))
    """
    for decorator in ("@jax.jit", ""):
        file = script(text.replace("DECORATED", decorator))
        alone = subprocess.run([sys.executable, file], capture_output=True, text=True, check=True).stdout
        status, out, err = run(capsys, "--continue", "--select", "WP5,WP401", file)
        assert status == 0, err
        assert alone.strip() in out
        assert "jax, " in out
        assert "5 parameters in 2 tensors" in out


def test_watch_takes_a_jitted_step():
    import jax
    import jax.numpy as jnp

    @jax.jit
    def step(w, x):
        return w - 0.1 * jax.grad(lambda w: jnp.mean((x * w - 1) ** 2))(w)

    report = wp.watch(step, jnp.ones(3), jnp.arange(1.0, 4.0), only=lambda rule: rule == "WP501")
    assert [f.verdict for f in report.findings if f.rule == "WP501"] == [wp.Verdict.HOLDS]


SOFTMAXED = TRAINING.replace("(net(x[rows]), y[rows])", "(net(x[rows]).softmax(1), y[rows])")


def test_a_run_has_every_form_of_a_report(script, capsys, tmp_path):
    file = script(SOFTMAXED)
    status, out, _ = run(capsys, "--select", "WP401", "--out", str(tmp_path / "forms"), "--lines", file)
    line = SOFTMAXED[: SOFTMAXED.index("loss = ")].count("\n") + 1
    assert status == 1
    assert out.splitlines()[-1].startswith(f"{file}:{line}: error: WP401")
    assert {one.name for one in (tmp_path / "forms").iterdir()} == {
        f"train.{ending}" for ending in ("json", "html", "sarif", "xml", "txt")
    }
    found = json.loads((tmp_path / "forms" / "train.json").read_text())["findings"][0]
    assert (found["file"], found["line"]) == (file, line)
    result = json.loads((tmp_path / "forms" / "train.sarif").read_text())["runs"][0]["results"][0]
    assert result["locations"][0]["physicalLocation"]["region"]["startLine"] == line


def test_a_run_takes_the_project_s_settings_and_the_script_s_comments(script, capsys, tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.wellposed]\nselect = ["WP4"]\nbudget = 60\n')
    text = SOFTMAXED.replace(
        "y[rows])\n        loss.b", "y[rows])  # wellposed: ignore WP401 to show it\n        loss.b"
    )
    status, out, _ = run(capsys, "--verbose", script(text))
    assert status == 0
    assert "Ignored by train.py" in out
    assert "to show it" in out
    assert "WP1" not in out


def test_a_run_of_a_module_names_its_file(script, capsys, tmp_path, monkeypatch):
    script(SOFTMAXED, "train_as_module.py")
    monkeypatch.chdir(tmp_path)
    _, out, _ = run(capsys, "--select", "WP401", "--lines", "-m", "train_as_module")
    assert out.splitlines()[-1].startswith("train_as_module.py:")


def test_options_of_a_run_that_take_no_value_are_known():
    hints = {name for name, kind in get_type_hints(run_command).items() if kind is bool and name != "module"}
    assert {f"--{name.strip('_')}" for name in hints} | {"-m", "-h", "--help", "--version"} == _FLAGS


@pytest.mark.parametrize("budget", ["-1", "0", "nan"])
def test_a_run_refuses_what_is_no_number_of_seconds(script, capsys, budget):
    status, _, err = run(capsys, "--budget", budget, script())
    assert status == 2
    assert f"--budget {budget} is no number of seconds" in err


def test_the_line_that_a_finding_shows_is_its_place(tmp_path):
    file = tmp_path / "train.py"
    file.write_text("x = 1\nloss = x\n\nlogits = logits.view(4, 3)\n")
    shown = Finding(
        "WP408", wp.Verdict.FAILS, "[3, 4] is reshaped, at line 4: `logits = logits.view(4, 3)`.", "", "reshape"
    )
    other = replace(shown, message=shown.message.replace("logits.view(4, 3)", "elsewhere(4, 3)"))
    named = replace(shown, message="the gradient of train.py:3 is cleared")
    assert [place_in(file, "loss", one)[1] for one in (shown, other, named)] == [4, 2, 3]
