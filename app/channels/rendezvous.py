"""Weighted rendezvous hashing: everybody with the same nodes and weights picks the same node for a name.

D. Thaler, C. Ravishankar, "A Name-Based Mapping Scheme for Rendezvous", 1996; weighted by -w / ln(h) as in
J. Schindelhauer, G. Schomaker, "Weighted Distributed Hash Tables", 2005. Taking a node away moves only the
names it had.
"""

import hashlib
import math
from collections.abc import Iterable


def rendezvous_order(name: str, nodes: Iterable[tuple[str, float]]) -> list[str]:
    """Return the `nodes` (each a label and its weight above 0) for `name`, the best first."""
    return [label for _, label in sorted((-_score(name, *node), node[0]) for node in nodes)]


def _score(name: str, label: str, weight: float) -> float:
    digest = hashlib.blake2b(f"{label}\0{name}".encode(), digest_size=6).digest()
    uniform = (int.from_bytes(digest) + 0.5) / 2**48  # exact, so never 1, whose logarithm is 0
    return -weight / math.log(uniform)
