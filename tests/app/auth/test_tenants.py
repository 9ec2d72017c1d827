"""Tenants: who signed a token, and what they may do."""

import base64
import hmac
from typing import Any

import pytest

from app.auth.tenants import Tenants, issuer_at_sfu
from app.crypto.tokens import Key
from app.errors import CredentialsExpired, CredentialsInvalid, InvalidField, IssuerMissing
from app.settings.model import BalancingSettings, Settings, TenantSettings

NOW = 1_750_000_000
ISSUER = "https://odoo.example:channel:7"

FIRST, SECOND = Key(b"the first key of the default tenant"), Key(b"its second one")
THEIRS = Key(b"the key of another Odoo")


def tenants(*others: TenantSettings, region_allow: tuple[str, ...] = ()) -> Tenants:
    settings = Settings(
        key=(FIRST, SECOND), tenant=others, balancing=BalancingSettings(region_allow=region_allow)
    )
    return Tenants.from_settings(settings, lambda: NOW)


def token(key: Key = FIRST, /, **claims: Any) -> str:
    every = {"iss": ISSUER, "exp": NOW + 30} | claims
    return key.sign({name: value for name, value in every.items() if value is not None})


OTHER = TenantSettings(name="other", key=(THEIRS,), region="eu-west", max_placements=3)


@pytest.mark.parametrize(("key", "name"), [(FIRST, "default"), (SECOND, "default"), (THEIRS, "other")])
def test_a_token_belongs_to_the_tenant_whose_key_signed_it(key: Key, name: str) -> None:
    caller = tenants(OTHER).verify(token(key))
    assert (caller.tenant.name, caller.issuer) == (name, ISSUER)


def test_a_tenant_brings_its_region_and_its_limit() -> None:
    tenant = tenants(OTHER).verify(token(THEIRS)).tenant
    assert (tenant.region, tenant.max_placements, tenant.region_allow) == ("eu-west", 3, None)


def test_claims_that_the_gateway_does_not_know_pass_through() -> None:
    caller = tenants().verify(token(key="AAAA", future={"nested": [1]}))
    assert caller.claims == {"iss": ISSUER, "exp": NOW + 30, "key": "AAAA", "future": {"nested": [1]}}


def test_a_token_of_nobody_is_refused() -> None:
    with pytest.raises(CredentialsInvalid):
        tenants(OTHER).verify(token(Key(b"who?")))


def test_without_any_key_everybody_is_refused() -> None:
    with pytest.raises(CredentialsInvalid, match="no key is configured"):
        Tenants.from_settings(Settings(), lambda: NOW).verify(token())


def test_a_token_that_is_late_is_refused() -> None:
    with pytest.raises(CredentialsExpired):
        tenants().verify(token(exp=NOW))


@pytest.mark.parametrize("issuer", [None, "", 7, ["x"], {"iss": "x"}, "x" * 1025])
def test_a_genuine_token_without_an_issuer_is_refused(issuer: object) -> None:
    with pytest.raises(IssuerMissing):
        tenants().verify(token(iss=issuer))


def test_an_issuer_may_have_1024_characters() -> None:
    assert tenants().verify(token(iss="é" * 1024)).issuer == "é" * 1024


@pytest.mark.parametrize("character", ["\n", "\x00", "\x7f"])
def test_an_issuer_with_control_characters_is_refused(character: str) -> None:
    with pytest.raises(IssuerMissing, match="control characters"):
        tenants().verify(token(iss=f"https://odoo{character}.example"))


# Namespaces


def test_an_sfu_sees_the_issuer_of_the_default_tenant_as_odoo_wrote_it() -> None:
    assert tenants(OTHER).verify(token()).claims["iss"] == ISSUER


def test_an_sfu_sees_the_issuer_of_another_tenant_under_its_name() -> None:
    caller = tenants(OTHER).verify(token(THEIRS))
    assert (caller.issuer, caller.claims["iss"]) == (ISSUER, f"tenant/other/{ISSUER}")


def test_no_two_tenants_have_one_issuer_at_an_sfu_whatever_they_call_themselves() -> None:
    issuers = [ISSUER, f"tenant/other/{ISSUER}", f"tenant/default/{ISSUER}", "tenant/", "tenant/other/"]
    seen = [issuer_at_sfu(tenant, issuer) for tenant in ("default", "other", "tenant") for issuer in issuers]
    assert len(set(seen)) == len(seen)


# keySeed (odoo/odoo#287431)


@pytest.mark.parametrize("key", [FIRST, SECOND, THEIRS])
def test_a_seed_becomes_the_channel_key_that_browsers_derive_from_the_gateways_key(key: Key) -> None:
    seed = b"\xfb\xff seed of this channel"
    claims = tenants(OTHER).verify(token(key, keySeed=base64.b64encode(seed).decode())).claims
    derived = hmac.digest(key.secret, seed, "sha256")
    assert claims["key"] == base64.b64encode(derived).decode()
    assert claims.keys() == {"iss", "exp", "key"}


def test_a_seed_takes_precedence_over_a_key() -> None:
    assert tenants().verify(token(keySeed="AAAA", key="BBBB")).claims["key"] != "BBBB"


@pytest.mark.parametrize("seed", [None, 5, ["AAAA"], "not base64!"])
def test_a_seed_that_is_no_base64_is_refused(seed: object) -> None:
    genuine = FIRST.sign({"iss": ISSUER, "exp": NOW + 30, "keySeed": seed})
    with pytest.raises(CredentialsInvalid, match="keySeed is not base64"):
        tenants().verify(genuine)


# Regions


@pytest.mark.parametrize(
    ("everywhere", "theirs", "allowed"),
    [
        pytest.param((), (), None, id="nobody is limited"),
        pytest.param(("eu-west",), (), ("eu-west",), id="all are limited"),
        pytest.param((), ("eu-west", "eu-north"), ("eu-west", "eu-north"), id="the tenant is limited"),
        pytest.param(("us-east", "eu-west"), ("eu-west", "eu-north"), ("eu-west",), id="both limits hold"),
    ],
)
def test_a_tenant_may_use_regions_within_both_limits(
    everywhere: tuple[str, ...], theirs: tuple[str, ...], allowed: tuple[str, ...] | None
) -> None:
    known = tenants(TenantSettings(name="other", key=(THEIRS,), region_allow=theirs), region_allow=everywhere)
    assert known.verify(token(THEIRS)).tenant.region_allow == allowed
    assert known.verify(token()).tenant.region_allow == (everywhere or None)


# By name, and without an issuer


def test_a_tenant_is_found_by_its_name() -> None:
    known = tenants(OTHER)
    assert known.named("other").max_placements == 3
    assert known.named(None) == known.named("default")
    with pytest.raises(InvalidField, match="no tenant of this name"):
        known.named("nobody")


def test_a_disconnect_token_needs_no_issuer() -> None:
    known = tenants(OTHER)
    tenant, claims = known.claims_of(token(THEIRS, iss=None, sessionIdsByChannel={}))
    assert (tenant.name, claims["sessionIdsByChannel"]) == ("other", {})
    with pytest.raises(CredentialsExpired):
        known.claims_of(token(THEIRS, exp=NOW))
