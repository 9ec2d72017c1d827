"""SFU keys at rest: what Redis holds is of no use without a sealing key."""

import base64
import itertools

import pytest

from app.crypto.sealing import Sealer, UnsealError
from app.crypto.tokens import Key
from app.settings.model import SealingSettings, Settings

ADDRESS = "http://sfu1:8070"
KEY = Key(b"the secret of an SFU")
OLD, NEW = bytes(32), bytes(range(32))


def test_what_was_sealed_opens_again() -> None:
    sealer = Sealer([OLD])
    assert sealer.open(ADDRESS, sealer.seal(ADDRESS, KEY)) == KEY


def test_another_replica_opens_it_too() -> None:
    assert Sealer([OLD]).open(ADDRESS, Sealer([OLD]).seal(ADDRESS, KEY)) == KEY


def test_what_is_sealed_is_printable_and_shows_nothing() -> None:
    sealed = Sealer([OLD]).seal(ADDRESS, KEY)
    raw = base64.urlsafe_b64decode(sealed.partition(".")[2])
    assert sealed.isascii()
    assert sealed.isprintable()
    assert KEY.secret not in raw
    assert KEY.to_base64() not in sealed


def test_the_same_key_looks_different_each_time_it_is_sealed() -> None:
    assert len({Sealer([OLD]).seal(ADDRESS, KEY) for _ in range(100)}) == 100


def test_a_key_that_is_known_is_not_sealed_again() -> None:
    sealer = Sealer([OLD])
    by_another = Sealer([OLD]).seal(ADDRESS, KEY)
    sealer.open(ADDRESS, by_another)
    assert sealer.seal(ADDRESS, KEY) == by_another
    newer = sealer.seal(ADDRESS, Key(b"the next secret"))
    assert sealer.seal(ADDRESS, KEY) not in (by_another, newer)
    assert sealer.seal("http://sfu2:8070", KEY) != sealer.seal(ADDRESS, KEY)


def test_a_key_that_a_former_sealing_key_sealed_is_sealed_again() -> None:
    sealer = Sealer([NEW, OLD])
    former = Sealer([OLD]).seal(ADDRESS, KEY)
    sealer.open(ADDRESS, former)
    assert Sealer([NEW]).open(ADDRESS, sealer.seal(ADDRESS, KEY)) == KEY


def test_a_sealed_key_opens_for_its_own_address_only() -> None:
    sealer = Sealer([OLD])
    sealed = sealer.seal(ADDRESS, KEY)
    assert sealer.open(ADDRESS, sealed) == KEY
    with pytest.raises(UnsealError, match="another address"):
        sealer.open("http://evil:8070", sealed)


def test_after_a_rotation_old_seals_open_and_new_ones_are_made_with_the_new_key() -> None:
    before, during, after = Sealer([OLD]), Sealer([NEW, OLD]), Sealer([NEW])
    assert during.open(ADDRESS, before.seal(ADDRESS, KEY)) == KEY
    assert after.open(ADDRESS, during.seal(ADDRESS, KEY)) == KEY
    with pytest.raises(UnsealError, match="not configured here"):
        after.open(ADDRESS, before.seal(ADDRESS, KEY))


def test_a_changed_seal_does_not_open() -> None:
    sealed = Sealer([OLD]).seal(ADDRESS, KEY)
    for position in range(sealed.index(".") + 1, len(sealed)):
        changed = sealed[:position] + ("B" if sealed[position] == "A" else "A") + sealed[position + 1 :]
        if base64.urlsafe_b64decode(changed.partition(".")[2]) != base64.urlsafe_b64decode(sealed[9:]):
            with pytest.raises(UnsealError):
                Sealer([OLD]).open(ADDRESS, changed)


@pytest.mark.parametrize(
    "garbage", ["", ".", "no dot", "ключ.AAAA", "{id}.", "{id}.AAAA", "{id}.A", "{id}.ключ"]
)
def test_garbage_does_not_open(garbage: str) -> None:
    sealer = Sealer([OLD])
    key_id = sealer.seal(ADDRESS, KEY).partition(".")[0]
    with pytest.raises(UnsealError):
        sealer.open(ADDRESS, garbage.replace("{id}", key_id))


def test_opened_keys_are_kept_by_address_and_seal() -> None:
    sealer = Sealer([OLD])
    sealed = sealer.seal(ADDRESS, KEY)
    assert sealer.open(ADDRESS, sealed) is sealer.open(ADDRESS, sealed)


def test_of_an_address_only_the_last_opened_seal_is_kept() -> None:
    sealer = Sealer([OLD])
    former, newest = Sealer([OLD]).seal(ADDRESS, KEY), Sealer([OLD]).seal(ADDRESS, KEY)
    opened = sealer.open(ADDRESS, former)
    sealer.open(ADDRESS, newest)
    assert sealer.open(ADDRESS, former) == opened
    assert sealer.open(ADDRESS, former) is not opened


# Fingerprints


def test_a_fingerprint_tells_keys_and_addresses_apart() -> None:
    sealer = Sealer([OLD])
    prints = {
        sealer.fingerprint(address, key)
        for address, key in itertools.product([ADDRESS, "http://sfu2:8070"], [KEY, Key(b"another")])
    }
    assert len(prints) == 4
    sealer.seal(ADDRESS, KEY)
    assert sealer.fingerprint(ADDRESS, Key(b"another")) in prints
    assert sealer.fingerprint(ADDRESS, KEY) == sealer.fingerprint(ADDRESS, KEY)
    assert sealer.fingerprint(ADDRESS, KEY) == Sealer([OLD]).fingerprint(ADDRESS, KEY)


def test_a_fingerprint_says_nothing_without_the_sealing_key() -> None:
    assert Sealer([OLD]).fingerprint(ADDRESS, KEY) != Sealer([NEW]).fingerprint(ADDRESS, KEY)


# Settings


def test_without_sealing_keys_they_are_derived_from_the_gateways_keys() -> None:
    first, second = Key(b"first key of Odoo"), Key(b"second key of Odoo")
    before = Sealer.from_keys((), (first,))
    during = Sealer.from_keys((), (second, first))
    assert during.open(ADDRESS, before.seal(ADDRESS, KEY)) == KEY
    with pytest.raises(UnsealError):
        Sealer([b"first key of Odoo" + bytes(15)]).open(ADDRESS, before.seal(ADDRESS, KEY))


def test_sealing_keys_of_their_own_outlive_the_gateways_keys() -> None:
    before = Sealer.from_keys((Key(NEW),), (Key(b"one"),))
    after = Sealer.from_keys((Key(NEW),), (Key(b"another"),))
    assert after.open(ADDRESS, before.seal(ADDRESS, KEY)) == KEY


def test_without_any_key_it_seals_for_itself_alone() -> None:
    one, other = Sealer.from_keys((), ()), Sealer.from_keys((), ())
    sealed = one.seal(ADDRESS, KEY)
    assert one.open(ADDRESS, sealed) == KEY
    with pytest.raises(UnsealError):
        other.open(ADDRESS, sealed)


def test_the_text_forms_show_no_secret() -> None:
    secret = b"sealing secret 0"
    sealer = Sealer([secret])
    sealer.open(ADDRESS, sealer.seal(ADDRESS, KEY))
    settings = Settings(key=(KEY,), sealing=SealingSettings(keys=(Key(secret),)))
    for shown in (repr(sealer), repr(settings), str(settings), repr(settings.model_dump())):
        assert "secret of an SFU" not in shown
        assert "sealing secret" not in shown
