"""What figures say, how they are drawn, and that a page with them is one file that everybody can read."""

from __future__ import annotations

import dataclasses
import json
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
import torch
from torch import nn

import wellposed as wp
from wellposed.figures import Figure, Panel, Series
from wellposed.findings import Finding, Record, Summary, Verdict
from wellposed.report import bars, html, plots
from wellposed.report import json as as_json
from wellposed.report.site import page_of


def deep(depth=12, width=48, gain=0.5):
    torch.manual_seed(0)
    layers = [nn.Linear(20, width), nn.Tanh()]
    for _ in range(depth):
        layers += [nn.Linear(width, width), nn.Tanh()]
    model = nn.Sequential(*layers, nn.Linear(width, 5))
    with torch.no_grad():
        for layer in model:
            if isinstance(layer, nn.Linear):
                layer.weight.normal_(0, gain / layer.in_features**0.5)
    batch = torch.randn(64, 20), torch.randint(5, (64,))
    return wp.TorchProblem(model, nn.CrossEntropyLoss(), batch, optimizer=torch.optim.Adam(model.parameters(), 1e-3))


@pytest.fixture(scope="module")
def report():
    return wp.checkup(deep(), full=True)


def named(report, name):
    return next(figure for figure in report.figures if figure.name == name)


def test_a_full_check_up_has_all_figures_and_a_quick_one_what_it_measured(report):
    assert [figure.name for figure in report.figures] == ["inputs", "depth", "gradient", "spectrum", "remedies"]
    assert [figure.name for figure in wp.checkup(deep()).figures] == ["inputs", "depth", "gradient"]


def test_depth_shows_what_the_trace_measured_with_theory_beside(report):
    problem = deep()
    trace = wp.trace(problem)
    forward, backward = named(report, "depth").panels
    assert forward.names == tuple(site.name for site in trace.trunk)
    np.testing.assert_allclose(forward.series[0].y, [site.forward.rms for site in trace.trunk], rtol=1e-6)
    np.testing.assert_allclose(backward.series[0].y, [site.gradient for site in trace.trunk], rtol=1e-6)
    measured, theory = np.array(backward.series[0].y[:-1]), np.array(backward.series[1].y[:-1])
    assert np.isfinite(theory).all()
    assert np.abs(np.log(theory / measured)).max() < np.log(3)  # over 12 layers that shrink it by more than a thousand
    assert measured[0] / measured[-1] < 1e-3


def test_the_gradient_figure_has_the_slopes_that_were_compared(report):
    slopes, apart = named(report, "gradient").panels
    claimed, measured = slopes.series[1].x, slopes.series[1].y
    np.testing.assert_allclose(claimed, measured, rtol=1e-4)
    assert all(error > 0 for error in slopes.series[1].error)
    assert all(a <= b for a, b in zip(apart.series[0].y, apart.series[1].y, strict=True) if a == a)
    assert "nowhere beyond their error bars" in named(report, "gradient").text


def test_histograms_count_every_row(report):
    for panel in named(report, "inputs").panels:
        assert sum(panel.series[0].y) == 64


def test_the_spectrum_is_that_of_the_verb(report):
    problem = deep()
    values = np.sort(wp.spectrum(problem).values, axis=1)[:, ::-1]
    for series, row in zip(named(report, "spectrum").panels[0].series, values, strict=True):
        np.testing.assert_allclose(series.y, row, rtol=1e-6)


def test_remedies_show_what_the_findings_say(report):
    told = [
        (f.remedies[0].before, f.remedies[0].after)
        for f in report.findings
        if f.remedies and f.remedies[0].after is not None
    ]
    before, after = named(report, "remedies").panels[0].series
    assert list(zip(before.y, after.y, strict=True)) == told


def test_figures_survive_json(report):
    again = as_json.loads(as_json.dumps(report))
    assert as_json.dumps(again) == as_json.dumps(report)  # not ==: a gap is NaN
    assert json.loads(report.to_json())["figures"][0]["name"] == "inputs"


def test_plot_gives_one_drawing_for_each_figure(report, tmp_path):
    drawings = report.plot()
    assert len(drawings) == len(report.figures)
    for number, drawing in enumerate(drawings):
        drawing.savefig(tmp_path / f"{number}.png")
        assert (tmp_path / f"{number}.png").stat().st_size > 5_000


def test_a_report_without_figures_plots_nothing():
    assert wp.check_inputs(np.random.default_rng(0).standard_normal((20, 3))).plot() == []


AWKWARD = Figure(
    "awkward",
    "<b>Layers & gradients</b>",
    'Text with <tags> & "quotes".',
    (
        Panel("nothing but NaN", "x", "y", (Series("gap", (0.0, 1.0), (float("nan"), float("nan"))),), log_y=True),
        Panel("one point", "x", "y", (Series("a", (0.0,), (1.0,), "points", (0.1,)), Series("b", (0.0,), (2.0,), "bars")), names=("a<b>",)),
        Panel("many names", "layer", "y", (Series("a", tuple(range(100)), tuple(range(1, 101))),), names=tuple(f"model.layers.{i}.self_attention.out" for i in range(100))),
    ),
)  # fmt: skip


@pytest.mark.parametrize("figure", [AWKWARD], ids=["awkward"])
def test_svg_is_well_formed_named_and_in_the_colours_of_the_page(figure):
    drawn = plots.svg(figure, "r1-")
    root = ET.fromstring(drawn)
    assert root.attrib["role"] == "img"
    ids = [element.attrib["id"] for element in root.iter() if "id" in element.attrib]
    assert len(ids) == len(set(ids))
    assert all(name.startswith("r1-awkward-") for name in ids)
    labelled = root.attrib["aria-labelledby"].split()
    assert [next(e for e in root.iter() if e.attrib.get("id") == name).text for name in labelled] == [
        figure.title,
        figure.text,
    ]
    assert "var(--ink)" in drawn
    assert not re.search(r"#0[1-6]0[1-6]0[1-6]\b", drawn)
    for reference in re.findall(r'(?:href="#|url\(#)([^")]+)', drawn):
        assert reference in ids


def test_svg_is_the_same_each_time(report):
    assert plots.svg(report.figures[1]) == plots.svg(report.figures[1])


def test_a_page_needs_no_other_file(report, tmp_path):
    report.to_html(tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == len(report.figures)
    assert "src=" not in page
    assert all(link.startswith(page_of()) for link in re.findall(r'href="(?!#)([^"]+)', page))  # to read on, at a click
    assert "@import" not in page


def test_two_reports_in_one_page_have_ids_of_their_own(report):
    page = html.pages([("one", report), ("two", report)])
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))


def test_bars_in_text():
    assert bars.profile([1.0, 10.0, 100.0, float("nan"), 0.0]) == "▁▅█··"
    assert bars.profile([]) == ""
    assert len(bars.thin(list(range(1000)))) == 48
    assert bars.thin(list(range(1000)))[::47] == [0, 999]
    assert bars.beside((2.0, 1.0)) == ["█" * 24, "█" * 12]
    assert bars.beside((0.0, 1.0))[0] == "▏"
    assert bars.beside((-1.0, 1.0)) == bars.beside((float("nan"), 1.0)) == []


def test_the_profile_stands_with_the_finding_in_text(report):
    text = str(report)
    assert "The gradient that comes back to it, first to last:" in text
    assert "▁" in text
    assert max(map(len, text.splitlines())) <= 80


def test_a_record_is_frozen_with_its_figures():
    record = Record(Summary("torch"), (Finding("WP101", Verdict.HOLDS, ""),), figures=(AWKWARD,))
    with pytest.raises(dataclasses.FrozenInstanceError):
        record.figures = ()
