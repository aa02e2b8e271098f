"""
Points on the ring for property tests: often few and close together, so that ties and edges happen.
"""

from __future__ import annotations

from hypothesis import strategies as st

from post.ids import RING, Id, NodeId

points = st.one_of(
    st.integers(0, RING - 1),
    st.integers(0, 40),
    st.integers(RING - 40, RING - 1),
    st.integers(0, 15).map(lambda digit: digit << 156),
)
nodes = points.map(lambda point: NodeId(Id(point)))


def node(point: int) -> NodeId:
    """
    The node at C{point}.
    """
    return NodeId(Id(point % RING))
