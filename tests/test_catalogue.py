import re
from pathlib import Path

import pytest

from wellposed.catalogue import CATALOGUE

TESTS = "".join(path.read_text() for path in Path(__file__).parent.glob("test_*.py"))


@pytest.mark.parametrize("rule", CATALOGUE.values(), ids=list(CATALOGUE))
def test_every_rule_has_its_words(rule):
    assert re.fullmatch(r"WP[1-5]\d\d", rule.id)
    assert rule.claim.endswith(".")
    assert len(rule.judged) > 60
    assert rule.causes or rule.remedies
    for cause in rule.causes:
        assert re.fullmatch(r"[a-z][a-z-]*", cause.slug)
        assert cause.remedies or rule.remedies


@pytest.mark.parametrize("rule", CATALOGUE)
def test_every_rule_is_tested(rule):
    assert f'"{rule}"' in TESTS


def test_every_rule_has_its_place_and_follows_from_rules_that_there_are():
    priorities = [rule.priority for rule in CATALOGUE.values()]
    assert len(set(priorities)) == len(priorities)
    for rule in CATALOGUE.values():
        named = {*rule.follows, *(other for others in rule.cause_follows.values() for other in others)}
        assert named <= CATALOGUE.keys() - {rule.id}
        assert rule.cause_follows.keys() <= {cause.slug for cause in rule.causes}
