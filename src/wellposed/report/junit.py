"""A record as JUnit XML, which CI shows where there is no pytest: a test case for each finding."""

from __future__ import annotations

import xml.etree.ElementTree as ET

from wellposed.findings import Finding, Record, Verdict
from wellposed.printable import harmless

_SKIPPED = (Verdict.UNDECIDED, Verdict.NOT_APPLICABLE)


def dumps(record: Record, file: str) -> str:
    """What fails is a failure, what could not be judged is skipped; a suspect passes, and its words are its output."""
    suite = ET.Element("testsuite", name=f"wellposed {file}", tests=str(len(record.findings)))
    suite.set("failures", str(record.count(Verdict.FAILS)))
    suite.set("skipped", str(sum(map(record.count, _SKIPPED))))
    suite.set("errors", "0")
    suite.set("time", f"{record.seconds:.3f}")
    for finding in record.findings:
        suite.append(_case(finding, file))
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True)


def _case(finding: Finding, file: str) -> ET.Element:
    at = f" at {finding.where}" if finding.where else ""
    case = ET.Element("testcase", classname=file, name=harmless(f"{finding.rule} {finding.title}{at}"))
    words = harmless("\n".join([finding.message, *(f"Do: {remedy.title}" for remedy in finding.remedies)]))
    if finding.verdict is Verdict.FAILS:
        ET.SubElement(
            case, "failure", message=harmless(finding.message), type=finding.cause or finding.rule
        ).text = words
    elif finding.verdict in _SKIPPED:
        ET.SubElement(case, "skipped", message=harmless(finding.message))
    elif finding.verdict is Verdict.SUSPECT:
        ET.SubElement(case, "system-out").text = words
    return case
