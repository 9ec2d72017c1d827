"""What the page's runbook links lead to."""

import pytest

from app.dashboard.runbooks import section
from app.diagnosis.trouble import CODES


@pytest.mark.parametrize("code", CODES)
def test_every_trouble_has_a_section_of_its_own(code: str) -> None:
    assert section(code).startswith(f"## {code}\n")
    assert section(code).count("\n## ") == 0


def test_all_runbooks_stand_in_for_one_that_is_missing() -> None:
    assert section("nothing").startswith("# Runbooks\n")
