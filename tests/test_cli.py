import json
import os
import subprocess
import sys
from pathlib import Path

import jsonschema
import pytest

from test_report import SCHEMA
from wellposed.catalogue import CATALOGUE
from wellposed.cli import main

EXAMPLES = Path(__file__).parent.parent / "examples"
SOUND = "import numpy as np, wellposed as wp\nprint('from the file')\nproblem = wp.FunctionProblem(lambda p: float((p['w']**2).sum()), lambda p: {'w': 2*p['w']}, {'w': np.ones(3)})\n"
WRONG = SOUND.replace("2*p", "3*p")


@pytest.fixture
def file(tmp_path):
    def write(content, name="mine.py"):
        path = tmp_path / name
        path.write_text(content)
        return str(path)

    return write


def test_a_sound_problem_exits_0_and_a_wrong_one_1(file, capsys):
    assert main(["check", file(SOUND)]) == 0
    assert main(["check", file(WRONG)]) == 1
    out = capsys.readouterr()
    assert out.out.startswith("wellposed: ok (")
    assert "from the file" not in out.out
    assert "from the file" in out.err


def test_functions_and_names(file):
    content = SOUND.replace("problem = ", "mine = ") + "def made():\n    return mine\n"
    assert main(["check", file(content) + ":mine"]) == 0
    assert main(["check", file(content) + ":made"]) == 0


def test_select_and_ignore(file, capsys):
    assert main(["check", file(WRONG), "--ignore", "WP501", "--json", "-"]) == 0
    assert "WP501" not in {finding["rule"] for finding in json.loads(capsys.readouterr().out)["findings"]}
    assert main(["check", file(WRONG), "--select", "wp1,WP503", "--json", "-"]) == 0
    assert {finding["rule"] for finding in json.loads(capsys.readouterr().out)["findings"]} == {
        "WP101",
        "WP102",
        "WP103",
        "WP104",
        "WP503",
    }


def test_json_to_a_file(file, tmp_path, capsys):
    assert main(["check", file(SOUND), "--json", str(tmp_path / "report.json")]) == 0
    jsonschema.validate(json.loads((tmp_path / "report.json").read_text()), SCHEMA)
    assert capsys.readouterr().out.startswith("wellposed: ok")


def test_explain_says_the_catalogue_s_words(capsys):
    for rule in CATALOGUE.values():
        assert main(["explain", rule.id.lower()]) == 0
        words = " ".join(capsys.readouterr().out.split())
        for expected in (rule.title, rule.claim, *rule.references, *(cause.means for cause in rule.causes)):
            assert " ".join(expected.split()) in words


def test_explain_looks_like_this(capsys, snapshot):
    main(["explain", "WP201"])
    assert capsys.readouterr().out == snapshot


BAD = {
    "no file": (None, "does not exist"),
    "no problem": ("x = 1", "defines no 'problem'"),
    "other name": (SOUND.replace("problem =", "other ="), "these are problems: "),
    "raises": ("1/0", "raised ZeroDivisionError: division by zero (line 1)"),
    "syntax": ("def (", "raised SyntaxError"),
    "exits": ("raise SystemExit(3)", "raised SystemExit: 3"),
    "no import": ("import nowhere_at_all", "No module named 'nowhere_at_all'"),
    "not a problem": ("problem = 42", "'problem' in "),
    "a class": ("class problem: pass", "is the class problem, not a Problem"),
    "function raises": ("def problem():\n    x = {}\n    return x['k']", "raised KeyError: 'k' (line 3)"),
    "function returns nothing": ("def problem(): pass", "is a NoneType, not a Problem"),
    "needs arguments": ("def problem(a): pass", "missing 1 required positional argument"),
    "loss raises": (SOUND.replace("float((p", "undefined((p"), "raised while it was being checked: NameError"),
    "bad gradient": (SOUND.replace("{'w': 2*p['w']}", "{'v': 2*p['w']}"), "gave no entry for 'w'"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_file_gets_one_clear_message_with_a_hint(case, file, capsys):
    content, words = BAD[case]
    path = "nowhere.py" if content is None else file(content)
    assert main(["check", path]) == 2
    out = capsys.readouterr()
    assert out.out == ""
    said = " ".join(out.err.replace("from the file\n", "").split())
    assert said.startswith("wellposed: ")
    assert words in said
    assert "Hint: " in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check"], "check needs a file"),
        (["check", "x.py", "--colour"], "Unknown option"),
        (["check", "x.py", "--select", "WP9"], "--select WP9 matches no rule"),
        (["check", "x.py", "--select", "WP1", "--ignore", "WP"], "leave no rule"),
        (["explain", "WP999"], "there is no rule 'WP999'"),
        (["improve"], "Unknown command"),
    ],
)
def test_a_bad_call_gets_one_clear_message(arguments, words, capsys):
    assert main(arguments) == 2
    out = capsys.readouterr()
    assert words in " ".join(out.err.split())
    assert out.out == ""


def test_traceback_on_request(file, capsys):
    assert main(["check", file("1/0"), "--traceback"]) == 2
    assert "Traceback" in capsys.readouterr().err


def test_a_report_that_cannot_be_written(file, tmp_path, capsys):
    assert main(["check", file(SOUND), "--json", str(tmp_path / "no" / "where.json")]) == 2
    assert "No such file or directory" in " ".join(capsys.readouterr().err.split())


def run(*arguments, **environment):
    command = [sys.executable, "-m", "wellposed", *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, env=os.environ | environment, timeout=300, check=False
    )


def failing(document):
    return {(finding["rule"], finding["where"]) for finding in document["findings"] if finding["verdict"] == "fails"}


@pytest.mark.parametrize(
    ("example", "status", "fails"),
    [
        ("digits.py", 0, set()),
        ("broken_deep.py", 1, {("WP101", "inputs"), ("WP201", "layers.38")}),
        ("broken_deep.py:remedied", 0, set()),
        ("growth.py", 1, {("WP202", "28"), ("WP203", "1")}),
        ("growth.py:shrinking", 1, {("WP201", "28"), ("WP203", "1")}),
        ("numpy_backprop.py", 0, set()),
        ("numpy_backprop_bug.py", 1, {("WP501", "b1"), ("WP501", "W2")}),
        ("jax_mlp.py", 0, set()),
    ],
)
def test_examples_as_a_user_runs_them(example, status, fails):
    done = run("check", str(EXAMPLES / example), "--json", "-")
    assert done.returncode == status, done.stderr
    document = json.loads(done.stdout)
    jsonschema.validate(document, SCHEMA)
    found = failing(document)
    assert fails <= found
    if "numpy" in example or not fails:
        assert found == fails


def test_a_pipe_gets_plain_text_of_80_columns():
    done = run("check", str(EXAMPLES / "numpy_backprop_bug.py"), COLUMNS="80")
    assert "\x1b" not in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 80
    assert done.stderr == ""


def test_help_names_the_exit_statuses():
    assert "2 the call or the file is at fault" in " ".join(run("--help").stdout.replace("│", " ").split())


@pytest.fixture
def table(tmp_path, monkeypatch):
    import numpy as np
    import pandas as pd

    monkeypatch.chdir(tmp_path)
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"age": random.integers(18, 90, 500), "seconds": 1.7e9 + random.random(500), "one": 1.0})
    frame["income"] = np.where(random.random(500) < 0.1, np.nan, random.lognormal(10, 1, 500))
    frame.to_csv("people.csv", index=False)
    return frame


def test_stats_prints_and_saves_what_standardizer_loads(table, capsys, snapshot):
    import wellposed as wp

    assert main(["stats", "people.csv", "-o", "stats.json"]) == 0
    assert capsys.readouterr().out == snapshot
    assert list(wp.Standardizer.load("stats.json").feature_names_in_) == ["age", "seconds", "one", "income"]
    assert main(["stats", "people.csv", "--columns", "age,income"]) == 0
    assert "2 features" in capsys.readouterr().out


def test_audit_holds_for_the_data_itself_and_fails_for_other_data(table, capsys, snapshot):
    assert main(["stats", "people.csv", "-o", "stats.json"]) == 0
    assert main(["audit", "stats.json", "people.csv"]) == 0
    assert main(["audit", "stats.json", "people.csv", "--held-out"]) == 1
    table.assign(age=table.age / 12).to_csv("months.csv", index=False)
    capsys.readouterr()
    assert main(["audit", "stats.json", "months.csv"]) == 1
    shown = capsys.readouterr().out
    assert "\n".join(line for line in shown.splitlines() if "evaluations in" not in line) == snapshot
    assert main(["audit", "stats.json", "months.csv", "--json", "-"]) == 1
    jsonschema.validate(json.loads(capsys.readouterr().out), SCHEMA)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stats", "nothing.npy"], "there is no file nothing.npy"),
        (["stats", "people.csv", "--columns", "height"], "people.csv has no column 'height'"),
        (
            ["stats", "people.csv", "-o", "no/such/folder.json"],
            "no/such/folder.json cannot be written: No such file or directory",
        ),
        (["audit", "people.csv", "people.csv"], "people.csv is not a file that Standardizer.save wrote"),
        (["audit", "nothing.json", "people.csv"], "nothing.json cannot be read: No such file or directory"),
        (["stats"], "data"),
    ],
)
def test_stats_and_audit_at_fault(table, capsys, arguments, words):
    assert main(arguments) == 2
    out = capsys.readouterr()
    assert words.lower() in out.err.lower()
    assert out.out == ""


def test_what_was_found_as_sarif_at_the_lines_of_the_file(tmp_path, capsys):
    file, out = tmp_path / "net.py", tmp_path / "out.sarif"
    file.write_text(
        "import torch, wellposed as wp\nfrom torch import nn\n\n\nclass Net(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.inside = nn.Linear(10, 300)\n        self.head = nn.Sequential(nn.Linear(300, 4), nn.Softmax(1))\n\n"
        "    def forward(self, x):\n        return self.head(torch.relu(self.inside(x)))\n\n\nmodel = Net()\n"
        "nn.init.constant_(model.inside.weight, 0.1)\nnn.init.zeros_(model.inside.bias)\n"
        "problem = wp.TorchProblem(model, nn.CrossEntropyLoss(), (torch.randn(64, 10), torch.arange(64) % 4))\n"
    )
    assert main(["check", str(file), "--sarif", str(out), "--ignore", "WP5"]) == 1
    (run,) = json.loads(out.read_text())["runs"]
    told = {result["ruleId"]: result for result in run["results"]}
    lines = {rule: told[rule]["locations"][0]["physicalLocation"]["region"]["startLine"] for rule in ("WP302", "WP401")}
    assert lines == {"WP302": 8, "WP401": 18}
    assert told["WP401"]["level"] == "error"
    assert told["WP401"]["message"]["text"].startswith("loss: cross_entropy gets probabilities")
    assert {rule["id"] for rule in run["tool"]["driver"]["rules"]} >= set(told)
    assert not {"WP104"} & set(told)  # what holds is left out
    capsys.readouterr()
    assert main(["check", str(file), "--sarif", str(tmp_path / "no" / "out.sarif")]) == 2
    assert "the report cannot be written to" in capsys.readouterr().err


def test_the_report_as_html(tmp_path, capsys):
    out = tmp_path / "report.html"
    file = Path(__file__).parent.parent / "examples/numpy_backprop_bug.py"
    assert main(["check", str(file), "--html", str(out)]) == 1
    assert "WP501" in out.read_text(encoding="utf-8")
    capsys.readouterr()
    assert main(["check", str(file), "--html", str(tmp_path / "no" / "report.html")]) == 2
    assert "the report cannot be written to" in capsys.readouterr().err
