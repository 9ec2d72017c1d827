"""Only Odoos that an operator has allowed are told."""

import pytest

from app.crypto.tokens import Key
from app.registry.losses import LostCall
from app.rescue.targets import NotTold, Targets
from app.settings.model import RescueSettings, Settings, TenantSettings

KEY = Key(b"the gateway key of the tests, 32 bytes")
OTHER = Key(b"another key of the tests, of 32 bytes.")


def targets(*allow: str, rescue_url: str = "") -> Targets:
    """What settings with these allow."""
    tenant = TenantSettings(name="other", key=(OTHER,), rescue_url=rescue_url)
    return Targets.from_settings(Settings(key=(KEY,), rescue=RescueSettings(allow=allow), tenant=(tenant,)))


def url_of(name: str, *allow: str, rescue_url: str = "") -> str:
    """Where a call of this name is announced."""
    return targets(*allow, rescue_url=rescue_url).base_url_of(LostCall(name, "uuid"))


@pytest.mark.parametrize(
    "issuer",
    [
        "https://odoo.example.com:channel:12",
        "https://odoo.example.com:channel:12#0123456789abcdef",
        "https://ODOO.example.com:443:channel:12",
    ],
)
def test_the_base_url_comes_from_the_issuer(issuer: str) -> None:
    assert url_of(f"default:{issuer}", "https://*.example.com") == "https://odoo.example.com"


@pytest.mark.parametrize(
    ("issuer", "reason"),
    [
        ("https://evil.example.org:channel:1", "not allowed"),
        ("http://169.254.169.254:channel:1", "not allowed"),
        ("https://odoo.example.com/x:channel:1", "no base URL"),
        ("https://evil.org@odoo.example.com:channel:1", "not allowed"),
        ("https://odoo.example.com", "no base URL"),
        ("odoo:channel:1", "no base URL"),
        ("file://x:channel:1", "no base URL"),
        ("https://a.example.com\n:channel:1", "not allowed"),
    ],
)
def test_whatever_is_not_allowed_is_not_told(issuer: str, reason: str) -> None:
    with pytest.raises(NotTold, match=reason):
        url_of(f"default:{issuer}", "https://*.example.com", "http://169.*")


def test_a_tenant_has_a_fixed_url_whatever_its_issuers_say() -> None:
    name = "other:https://odoo.example.com:channel:1"
    assert url_of(name, rescue_url="https://their.odoo.test") == "https://their.odoo.test"


def test_one_tenants_fixed_url_is_no_permission_to_name_others() -> None:
    with pytest.raises(NotTold, match="not allowed"):
        url_of("default:https://odoo.example.com:channel:1", rescue_url="https://their.odoo.test")


def test_a_tenant_that_is_gone_is_not_told() -> None:
    with pytest.raises(NotTold, match="no key"):
        url_of("gone:https://odoo.example.com:channel:1", "https://*.example.com")


def test_without_a_url_there_is_no_rescue() -> None:
    assert not Settings(key=(KEY,)).has_rescue
    assert Settings(key=(KEY,), rescue=RescueSettings(allow=("https://a",))).has_rescue
