import re
from pathlib import Path

import pytest

from wellposed.rules import CATALOGUE

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
