import re
from pathlib import Path

import pytest

from wellposed.catalogue import CATALOGUE
from wellposed.checks.order import order
from wellposed.checks.subjects import ALL, STEP
from wellposed.findings import Finding, Verdict
from wellposed.remedies.treatments import TREATMENTS

TESTS = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))


@pytest.mark.parametrize("rule", CATALOGUE.values(), ids=list(CATALOGUE))
def test_every_rule_has_its_words(rule):
    assert re.fullmatch(r"WP[1-6]\d\d", rule.id)
    assert rule.claim.endswith(".")
    assert len(rule.judged) > 60
    assert rule.causes or rule.remedies
    for cause in rule.causes:
        assert re.fullmatch(r"[a-z][a-z:-]*", cause.slug)
        assert cause.remedies or rule.remedies


@pytest.mark.parametrize("rule", CATALOGUE)
def test_every_rule_is_tested(rule):
    assert f'"{rule}"' in TESTS


def test_every_rule_has_its_place_and_follows_from_rules_that_there_are():
    priorities = [rule.priority for rule in CATALOGUE.values()]
    assert len(set(priorities)) == len(priorities)
    assert list(CATALOGUE) == sorted(CATALOGUE)
    for rule in CATALOGUE.values():
        named = {*rule.follows, *(other for others in rule.cause_follows.values() for other in others)}
        assert named <= CATALOGUE.keys() - {rule.id}
        assert rule.cause_follows.keys() <= {"", *(cause.slug for cause in rule.causes)}


def test_what_a_rule_names_is_there():
    figures = {"inputs", "depth", "gradient", "spectrum", "dependence", "terms"}
    for rule in CATALOGUE.values():
        treatments = {rule.treatment, *(cause.treatment for cause in rule.causes)} - {""}
        assert treatments <= TREATMENTS.keys()
        assert rule.remedies or not rule.treatment or all(cause.remedies for cause in rule.causes)
        assert all(cause.remedies or rule.remedies for cause in rule.causes if cause.treatment or rule.treatment)
        assert set(rule.figures) <= figures
        assert "{" not in rule.judged  # thresholds are formatted


def test_every_rule_of_a_check_up_belongs_to_a_subject_that_judges_it():
    judged = {rule.id for subject in (*ALL, STEP) for rule in subject.rules}
    assert judged == {rule.id for rule in CATALOGUE.values() if rule.judge is not None}
    assert CATALOGUE.keys() - judged == {"WP105", "WP506", "WP507"}  # asked of statistics, micro-batches and ranks


def test_no_rule_follows_from_itself_in_the_end():
    """`order` walks from a finding to what it follows from: some circles are meant, and no finding is its own root."""
    for start in CATALOGUE.values():
        for cause in ("", *(cause.slug for cause in start.causes)):
            found = [
                Finding(rule.id, Verdict.FAILS, "", cause=cause if rule is start else "") for rule in CATALOGUE.values()
            ]
            assert len(order(found)) == len(found)
