"""The chapters: what they say is computed, and is so."""

from __future__ import annotations

import numpy as np
import pytest

from wellposed.figures import Figure
from wellposed.report import Report, plots
from wellposed.report.text import without_colour
from wellposed.tour import CHAPTERS
from wellposed.tour.chapter import Table
from wellposed.tour.page import lay_out


@pytest.fixture(scope="module")
def chapters():
    return [make() for make in CHAPTERS]


def of(chapter, kind):
    return [part for part in chapter.parts if isinstance(part, kind)]


def test_chapters_are_the_same_each_time(chapters):
    for made, again in zip(chapters[:4], [make() for make in CHAPTERS[:4]], strict=True):
        assert [part for part in made.parts if not isinstance(part, Report | Figure)] == [
            part for part in again.parts if not isinstance(part, Report | Figure)
        ]


def test_normalised_inputs_make_descent_fast(chapters):
    raw, standardised = of(chapters[0], Table)[0].rows
    assert float(raw[1]) > 1000 > 2 > float(standardised[1])
    assert float(raw[4]) > 0.9 * float(raw[3])
    assert float(standardised[4]) < 0.02 * float(standardised[3])
    assert not of(chapters[0], Report)[0].ok


def test_powers_of_one_and_a_half(chapters):
    rows = of(chapters[1], Table)[0].rows
    assert rows[0] == ("10", "0.000977", "0.349", "2.59", "57.7")
    for series, factor in zip(of(chapters[1], Figure)[0].panels[0].series, (0.9, 1.0, 1.1), strict=True):
        assert abs(np.log(series.y[-1] / factor**60)) < 1.0


def test_variances_of_sums(chapters):
    for row in of(chapters[2], Table)[0].rows:
        n = int(row[0].replace(",", ""))
        assert float(row[1]) == pytest.approx(n, rel=0.1)
        assert float(row[2]) == pytest.approx(1, rel=0.1)
    slow, right = of(chapters[2], Figure)[0].panels[0].series
    assert slow.y[-1] < 1e-10
    assert 0.05 < right.y[-1] < 20


def test_two_sided_against_one_sided(chapters):
    rows = of(chapters[3], Table)[0].rows
    assert [row[2] for row in rows] == ["3.0001", "3.0301"]


def test_each_planted_bug_is_found_for_what_it_is(chapters):
    healthy, tanh, decay, dropout = of(chapters[4], Report)
    assert healthy.ok
    assert {(f.where, f.verdict.value) for f in tanh.findings if f.found} == {("W1", "fails"), ("b1", "fails")}
    assert "activation-derivative" in {f.cause for f in tanh.findings if f.found}
    assert {(f.where, f.cause) for f in decay.findings if f.found} == {
        ("W1", "missing-weight-decay"),
        ("W2", "missing-weight-decay"),
    }
    assert [f.rule for f in dropout.findings if f.found] == ["WP504"]


def test_a_script_without_a_line_and_with_it(chapters):
    without, whole = of(chapters[5], Report)
    assert [(f.rule, f.cause) for f in without.findings if f.found] == [("WP601", "never-cleared")]
    assert whole.ok


@pytest.mark.parametrize("width", [80, 50])
def test_chapters_fit_a_terminal(chapters, width):
    for number, chapter in enumerate(chapters, 1):
        text = without_colour(lay_out(number, chapter), width)
        assert text.startswith(f"{number}  {chapter.title}")
        assert max(map(len, text.splitlines())) <= width


def test_figures_of_chapters_can_be_drawn(chapters):
    for chapter in chapters:
        for figure in of(chapter, Figure):
            assert plots.svg(figure).startswith("<svg")


def test_the_command_line(capsys):
    from wellposed.cli import main

    assert main(["tour", "4"]) == 0
    assert capsys.readouterr().out.startswith("4  Numerical derivatives")
    assert main(["tour", "7"]) == 2
    assert capsys.readouterr().err == "wellposed: there is no chapter 7\n\nHint: 1 to 6\n"
