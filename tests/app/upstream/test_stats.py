"""Statistics of an SFU: channels and the people in them, or another shape."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.upstream.client import ForwardError
from app.upstream.stats import ChannelStats, read_stats, sessions_in


def test_each_entry_is_a_channel() -> None:
    document = [
        {"uuid": "a", "remoteAddress": "192.0.2.1", "sessionsStats": {"count": 2}},
        {"sessionsStats": {"count": 3}, "new": 1},
    ]
    channels = read_stats(document)
    assert channels == (ChannelStats("a", 2, "192.0.2.1"), ChannelStats("", 3))
    assert sessions_in(channels) == 5
    assert read_stats([]) == ()


@pytest.mark.parametrize(
    "document", [7, None, "x", {"a": 1}, [1], [{}], [{"sessionsStats": {}}], [{"sessionsStats": [1]}]]
)
def test_another_shape_is_an_error(document: object) -> None:
    with pytest.raises(ForwardError, match="another shape"):
        read_stats(document)


@pytest.mark.parametrize("count", [-1, 10**9 + 1, 10**30, -1e300])
def test_a_count_of_people_that_nobody_can_have_is_another_shape(count: float) -> None:
    with pytest.raises(ForwardError, match="another shape"):
        read_stats([{"sessionsStats": {"count": 5}}, {"sessionsStats": {"count": count}}])


@given(st.recursive(st.none() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner)))
def test_no_document_whatever_is_worse_than_another_shape(value: Any) -> None:
    for document in (value, [{"sessionsStats": {"count": value}, "uuid": value}]):
        try:
            read_stats(json.loads(json.dumps(document)))
        except ForwardError:
            continue
