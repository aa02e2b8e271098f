"""
Counts for tests.
"""

from __future__ import annotations

from collections import Counter

from post.health.durability import Count, Objects
from post.ids import Id, NodeId


def counted(at: float, *copies: int, doubtful: bool = False) -> Count:
    """
    Of messages that have so many C{copies}, on the first of a ring's nodes.
    """
    objects = Counter(
        Objects("messages", frozenset(NodeId(Id(node)) for node in range(1, number + 1)), doubtful and not number)
        for number in copies
    )
    return Count(at, 3, dict(objects), len(copies), len(copies))
