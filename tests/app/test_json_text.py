"""The faster way to write and read JSON says what the standard library says."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.json_text import decoder, encoder

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_text_is_that_of_the_standard_library(value: Any) -> None:
    assert encoder()(value) == json.dumps(value, separators=(",", ":"))
    assert encoder(separators=(", ", ": "))(value) == json.dumps(value)
    assert encoder(ensure_ascii=False)(value) == json.dumps(value, ensure_ascii=False, separators=(",", ":"))


@given(VALUES, st.sampled_from(["", " ", "\n\t "]))
def test_what_is_read_is_what_was_written(value: Any, space: str) -> None:
    assert decoder()(space + json.dumps(value) + space) == value


@pytest.mark.parametrize("text", ["", " ", "{", '{"a":1}x', "[1,]", "nul", "\ufeff1"])
def test_text_that_is_not_json_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - json has no message of its own for all of them
        decoder()(text)


def test_text_that_is_nested_too_deeply_is_a_recursion_error() -> None:
    with pytest.raises(RecursionError):
        decoder()("[" * 100_000)


def test_a_value_that_contains_itself_is_a_recursion_error() -> None:
    value: list[Any] = []
    value.append(value)
    with pytest.raises(RecursionError):
        encoder()(value)


def test_numbers_that_json_does_not_know_are_refused_on_request() -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        encoder(allow_nan=False)({"x": math.nan})


def test_other_values_are_written_by_the_default() -> None:
    assert encoder(default=repr)({"x": {1}}) == '{"x":"{1}"}'
    with pytest.raises(TypeError):
        encoder()({"x": {1}})
