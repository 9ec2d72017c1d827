"""Everybody picks the same node, in proportion to weights, and a change moves only what it must."""

from collections import Counter

import hypothesis.strategies as st
import pytest
from hypothesis import given

from app.channels.rendezvous import rendezvous_order

NAMES = [f"channel:{number}" for number in range(4_000)]

nodes = st.dictionaries(st.text(max_size=8), st.floats(0.001, 1e6), min_size=1, max_size=8)


@given(name=st.text(), nodes=nodes, data=st.data())
def test_the_order_of_the_nodes_does_not_matter(
    name: str, nodes: dict[str, float], data: st.DataObject
) -> None:
    shuffled = data.draw(st.permutations(list(nodes.items())))
    assert rendezvous_order(name, shuffled) == rendezvous_order(name, nodes.items())


@given(name=st.text(), nodes=nodes)
def test_every_node_is_in_the_order_once(name: str, nodes: dict[str, float]) -> None:
    assert sorted(rendezvous_order(name, nodes.items())) == sorted(nodes)


@given(name=st.text(), nodes=nodes, data=st.data())
def test_without_a_node_the_others_keep_their_order(
    name: str, nodes: dict[str, float], data: st.DataObject
) -> None:
    gone = data.draw(st.sampled_from(sorted(nodes)))
    rest = [(label, weight) for label, weight in nodes.items() if label != gone]
    before = rendezvous_order(name, nodes.items())
    assert rendezvous_order(name, rest) == [label for label in before if label != gone]


@given(name=st.text(), nodes=nodes, data=st.data())
def test_more_weight_never_makes_a_node_worse(
    name: str, nodes: dict[str, float], data: st.DataObject
) -> None:
    label = data.draw(st.sampled_from(sorted(nodes)))
    heavier = nodes | {label: 2 * nodes[label]}
    before, after = (rendezvous_order(name, weights.items()).index(label) for weights in (nodes, heavier))
    assert after <= before


def test_names_are_spread_in_proportion_to_weights() -> None:
    weights = {"small": 1.0, "medium": 2.0, "large": 5.0}
    first = Counter(rendezvous_order(name, weights.items())[0] for name in NAMES)
    for label, weight in weights.items():
        assert first[label] / len(NAMES) == pytest.approx(weight / 8, abs=0.03)


def test_the_same_name_gets_the_same_order_in_every_process() -> None:
    assert rendezvous_order("https://odoo.example:channel:7", dict.fromkeys("abc", 1).items()) == list("cab")
