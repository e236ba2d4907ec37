import io
import json
import re
from html.parser import HTMLParser
from importlib import resources

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from sarif_pydantic import Sarif

import wellposed as wp
from wellposed.findings import Evidence, Finding, Remedy, Summary, Verdict
from wellposed.report import text
from wellposed.report.json import loads
from wellposed.report.site import page_of

SCHEMA = json.loads(resources.files("wellposed.report").joinpath("schema.json").read_text())
FAILING = wp.Report(
    Summary("torch", 1234, 4, "float32", 2.302585, "float64"),
    (
        Finding(
            "WP201", Verdict.FAILS, "From `head` back to `layers.0` the gradient shrinks to 1e-18 of its size.", "vanishing gradient",
            "layers.38", "activation",
            (Evidence("gradient norm, first layer over last", 1.2e-18, "layers.0", reference="0.01 to 100"), Evidence("slope", 2.5, error=0.01, unit="nats", how="differences")),
            (Remedy("Initialise every layer", "wp.initialize(model, batch)\nprint('done')", 1e-18, 0.9), Remedy("Use skip connections")),
        ),
        Finding("WP102", Verdict.SUSPECT, "`inputs[:, 3]` is 20 times larger.", "feature scales differ widely", "inputs[:, 3]", "units"),
        Finding("WP101", Verdict.UNDECIDED, "This problem does not show its inputs.", "inputs not centred or scaled"),
        Finding("WP103", Verdict.UNDECIDED, "This problem does not show its inputs.", "constant feature"),
        Finding("WP501", Verdict.HOLDS, "The gradient agrees.", "gradient wrong"),
    ),
    321, 1.25,
)  # fmt: skip


def test_the_text_report(snapshot):
    assert str(FAILING) == snapshot


def test_a_narrow_terminal(snapshot):
    assert text.plain(FAILING, width=48) == snapshot


@given(width=st.integers(40, 200))
def test_no_line_is_wider_than_the_terminal(width):
    assert max(map(len, text.plain(FAILING, width).splitlines())) <= width


def test_colour_only_where_it_is_wanted():
    coloured = Console(file=io.StringIO(), force_terminal=True, color_system="truecolor", width=80)
    coloured.print(text.render(FAILING))
    assert "\x1b[1;31m" in coloured.file.getvalue()
    assert "\x1b" not in str(FAILING)


def test_markup_in_names_is_text():
    report = wp.Report(Summary("torch"), (Finding("WP101", Verdict.FAILS, "[red]x[/red]", "t", "inputs['[bold]']"),))
    assert "[red]x[/red]" in str(report)
    assert "inputs['[bold]']" in str(report)


def test_json_is_valid_and_complete():
    document = json.loads(FAILING.to_json())
    jsonschema.validate(document, SCHEMA)
    assert document["ok"] is False
    assert [finding["rule"] for finding in document["findings"]] == ["WP201", "WP102", "WP101", "WP103", "WP501"]
    assert document["findings"][0]["remedies"][0]["after"] == 0.9
    assert document["problem"] == {"backend": "torch", "parameters": 1234, "tensors": 4, "dtype": "float32", "loss": 2.302585,
                                   "checked_in": "float64", "coarse": "", "later": ""}  # fmt: skip


@given(st.floats(), st.text(), st.one_of(st.none(), st.floats()))
def test_any_number_and_any_text_is_valid_json(value, words, error):
    finding = Finding("WP101", Verdict.FAILS, words or "x", words, words, "", (Evidence(words, value, error=error),))
    jsonschema.validate(json.loads(wp.Report(Summary("torch", loss=value), (finding,)).to_json()), SCHEMA)


def test_a_report_is_true_when_nothing_fails():
    assert not FAILING
    assert wp.Report(FAILING.problem, FAILING.findings[1:])
    with pytest.raises(wp.CheckFailed, match="not ok"):
        FAILING.raise_if_failed()
    wp.Report(FAILING.problem, FAILING.findings[1:]).raise_if_failed()


class _Page(HTMLParser):
    """The tags that are open at each moment, and the text."""

    def __init__(self, page):
        super().__init__()
        self.open, self.words, self.tags, self.links = [], [], set(), []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.links += [value for key, value in attrs if key in ("src", "href")]
        if tag not in ("meta", "link", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.words.append(data)


def test_the_html_report_is_one_well_formed_file_with_everything_in_it(tmp_path):
    wp.Report(FAILING.problem, FAILING.findings).to_html(tmp_path / "report.html")
    page = _Page((tmp_path / "report.html").read_text(encoding="utf-8"))
    assert not page.open
    assert all(link.startswith(("#", page_of())) for link in page.links)  # it needs no other file
    said = " ".join(" ".join(page.words).split())
    for finding in FAILING.findings:
        assert finding.rule in said
        assert (
            " ".join(finding.message.replace("`", " ").split()) in " ".join(said.replace("`", " ").split())
            or finding.verdict is Verdict.HOLDS
        )
    assert {"h1", "h2", "table", "caption", "main", "header"} <= page.tags


def test_names_of_the_users_cannot_break_the_page():
    finding = Finding("WP401", Verdict.FAILS, "`<script>alert(1)</script>` & more", "title", where="<b>")
    shown = wp.Report(FAILING.problem, (finding,))._repr_html_()
    assert "<script>" not in shown
    assert "<code>&lt;script&gt;alert(1)&lt;/script&gt;</code> &amp; more" in shown
    assert "at <code>&lt;b&gt;</code>" in shown


def test_what_follows_from_a_finding_is_folded_under_it():
    root = Finding("WP301", Verdict.FAILS, "Too small.", "variance")
    hence = Finding("WP201", Verdict.FAILS, "Vanishes.", "vanishing gradient", where="layers.0", follows="WP301")
    record = wp.Report(FAILING.problem, (root, hence))
    assert "    hence  fails WP201 vanishing gradient at layers.0" in str(record)
    assert "Vanishes." not in str(record)
    page = record._repr_html_()
    assert page.index("Too small.") < page.index("<details>") < page.index("Vanishes.")


def test_a_record_read_from_its_json_is_the_same():
    read = loads(FAILING.to_json())
    assert read.findings == FAILING.findings
    assert (read.evaluations, read.seconds, read.problem.loss) == (
        FAILING.evaluations,
        FAILING.seconds,
        FAILING.problem.loss,
    )


def test_a_page_says_which_file_when_and_links_to_each_finding(tmp_path):
    claimed = Evidence("claimed slope along a direction", 2.0, "w")
    measured = Evidence("measured slope along it", 1.0, "w", error=1e-9)
    found = [
        Finding("WP501", Verdict.FAILS, "Wrong.", "gradient wrong", where, evidence=(claimed, measured))
        for where in ("layers.0.weight", "layers.0.weight", "b")
    ]
    tried = Remedy("Halve it", "x = x / 2", before=4.0, after=1.0)
    report = wp.Report(FAILING.problem, (*found, Finding("WP101", Verdict.FAILS, "Raw.", "raw", remedies=(tried,))))
    report.to_html(tmp_path / "report.html", lambda finding: ("problem.py", 7))
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    for anchor in ("WP501-layers.0.weight", "WP501-layers.0.weight-2", "WP501-b", "WP101"):
        assert f'id="{anchor}"' in page
        assert f'href="#{anchor}"' in page
    assert page.count("<code>problem.py:7</code>") == 4
    assert f"wellposed {wp.__version__}" in page
    assert re.search(r"<time>\d{4}-\d\d-\d\d \d\d:\d\d</time>", page)
    assert "Claimed against measured" in page
    assert page.count("measured slope along it") == 0  # it stands beside what was claimed
    assert 'style="width: 25.0%"' in page
    assert page.count('class="copy" hidden') == 1  # until the script knows that it can


def test_a_fragment_has_no_script_and_no_links_within():
    assert "<script" not in FAILING._repr_html_()
    assert 'href="#' not in FAILING._repr_html_()


def sarif(report):
    return json.loads(report.to_sarif("a b/problem.py", lambda finding: 7))["runs"][0]


def test_sarif_has_what_code_hosts_ask_for():
    root = Finding("WP301", Verdict.FAILS, "Too small.", "variance", "layers.0")
    hence = Finding("WP201", Verdict.FAILS, "Vanishes by 1e-9.", "vanishing gradient", "layers.1", follows="WP301")
    run = sarif(wp.Report(FAILING.problem, (root, hence)))
    Sarif.model_validate(json.loads(wp.Report(FAILING.problem, (root, hence)).to_sarif("problem.py", lambda _: 1)))
    first, second = run["results"]
    assert first["relatedLocations"][0]["message"]["text"] == "Hence WP201 vanishing gradient."
    assert "relatedLocations" not in second
    place = first["locations"][0]
    assert place["physicalLocation"]["artifactLocation"]["uri"] == "a%20b/problem.py"
    assert place["logicalLocations"] == [{"fullyQualifiedName": "layers.0"}]
    assert [run["tool"]["driver"]["rules"][one["ruleIndex"]]["id"] for one in run["results"]] == ["WP301", "WP201"]


def test_a_fingerprint_is_of_the_place_and_not_of_the_numbers():
    one, other, elsewhere = (
        Finding("WP301", Verdict.FAILS, message, "variance", where)
        for message, where in (("By 1.", "layers.0"), ("By 2.", "layers.0"), ("By 1.", "layers.1"))
    )
    prints = [
        sarif(wp.Report(FAILING.problem, (f,)))["results"][0]["partialFingerprints"] for f in (one, other, elsewhere)
    ]
    assert prints[0] == prints[1] != prints[2]


def test_json_says_where_in_which_file():
    document = json.loads(FAILING.to_json(lambda finding: ("problem.py", 12)))
    jsonschema.validate(document, SCHEMA)
    assert {(one["file"], one["line"]) for one in document["findings"]} == {("problem.py", 12)}
    assert loads(json.dumps(document)).findings == FAILING.findings


@pytest.mark.parametrize("rule", ["WP601", "WP509"])
def test_every_rules_findings_are_in_the_schema(rule):
    jsonschema.validate(
        json.loads(wp.Report(FAILING.problem, (Finding(rule, Verdict.FAILS, "x", "y"),)).to_json()), SCHEMA
    )
