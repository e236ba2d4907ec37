"""A report in the forms that other programs read, each in a file of its own."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from wellposed.errors import InputError
from wellposed.findings import PlaceOf
from wellposed.report import Report
from wellposed.report.text import plain
from wellposed.settings import Ignored, without_ignored
from wellposed.writing import write_whole

_ENDINGS = {"json": "json", "html": "html", "sarif": "sarif", "junit": "xml", "text": "txt"}


def publish(report: Report, place: PlaceOf, ignored: Sequence[Ignored], *forms: Mapping[str, str]) -> Report:
    """The report without what is ignored, once it is written in all of these forms (see `write_reports`)."""
    report = replace(report, findings=without_ignored(report.findings, ignored, lambda one: place(one)[1]))
    for each in forms:
        write_reports(report, place, each)
    return report


def write_reports(report: Report, place: PlaceOf | None, forms: Mapping[str, str]) -> None:
    """`forms` gives the file of each; "" for none, and of JSON "-" for standard output, which is not written here."""
    file = place(report.findings[0])[0] if place is not None and report.findings else ""
    made: dict[str, Callable[[], str]] = {
        "json": lambda: report.to_json(place),
        "sarif": lambda: report.to_sarif(file, lambda finding: 1 if place is None else place(finding)[1]),
        "junit": lambda: report.to_junit(file),
        "text": lambda: plain(report),
    }
    for form, output in forms.items():
        if form == "html" and output:
            report.to_html(output, place)
        elif output and output != "-":
            write_whole(output, made[form]() + "\n")


def in_folder(folder: str, file: str, files: list[str]) -> dict[str, str]:
    """The files of all forms in a folder, which is made, named after the file that was checked; none where no folder is
    named. Raises `InputError`.
    """
    if not folder:
        return {}
    into = Path(folder)
    try:
        into.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder} cannot be made: {error.strerror or error}", hint="name a folder") from error
    name = Path(file).stem
    if [Path(one).stem for one in files].count(name) > 1:  # problem.py in several folders, or several names in one
        name = "-".join(part.replace(":", "-") for part in Path(file).parts if part not in ("/", ".."))
    return {form: str(into / f"{name}.{ending}") for form, ending in _ENDINGS.items()}
