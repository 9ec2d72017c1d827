"""The rule that each script includes what it calls."""

from tests.lua.lint import missing_includes

KEY = "local function key(name) return name end"


def test_a_script_that_calls_an_include_and_does_not_include_it_is_named() -> None:
    sources = {"select": "return key('load')", "includes/key": KEY}
    assert list(missing_includes(sources)) == ["select.lua calls key and does not include it"]


def test_an_include_that_another_include_brings_is_not_enough() -> None:
    sources = {
        "select": '--- @include "save"\nsave()\nreturn key(1)',
        "includes/save": '--- @include "key"\nlocal function save() key(1) end',
        "includes/key": KEY,
    }
    assert list(missing_includes(sources)) == ["select.lua calls key and does not include it"]


def test_comments_texts_and_fields_call_nothing() -> None:
    sources = {"select": "-- key(1)\nlocal t = {}\nt.key('x')\nreturn 'key(1)'", "includes/key": KEY}
    assert list(missing_includes(sources)) == []
