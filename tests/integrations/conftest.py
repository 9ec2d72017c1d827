"""An Odoo with the addon, in each version."""

import pytest

from tests.integrations.odoo import VERSIONS, Odoo, load


@pytest.fixture(params=VERSIONS)
def odoo(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Odoo:
    """Every version in turn."""
    return load(monkeypatch, request.param)
