"""
The routing failure test: whether the nodes that are said to live around a key stand as close together as nodes do
(pure; Castro et al., OSDI 2002, section 5.2).

Ids are given out by the authority, at random.  Liars who name only one another, out of C{f} of all nodes, stand
C{1 / f} times as far apart as the nodes really do, and cannot move together.  So the mean step between the nodes of a
claimed set, over that in the ring, is a ratio near 1 if the set is true and near C{1 / f} if only liars are in it.
With 24 nodes in a set, and the ring's own step known exactly, the ratios beyond which a set is doubted would give

  ======  ==============  ======================================
  ratio   true, doubted   false, believed (f = 20, 25, 30 %)
  ======  ==============  ======================================
  1.3      7.9 %          0          0.000002    0.00005
  1.36     4.9 %          0          0.000005    0.00009
  1.4      3.5 %          0          0.000008    0.00014
  1.5      1.4 %          0.000001   0.000025    0.00036
  1.7      0.18 %         0.000005   0.00016     0.0019
  ======  ==============  ======================================

(gaps of a Poisson process, so the sum of 24 is Gamma distributed).  We doubt early: a doubt costs messages, a belief
may cost mail.  What is known of the ring's own step is inexact too, so that more is doubted than the table says.

A set in which liars hide only some of the others, or name nodes that do not exist, passes this.  But whom it names does
answer questions or does not exist; so some of them, chosen by chance, are asked whom they know (L{checks}).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, log

from post.ids import RING, NodeId

DOUBTED = 1.42
"""The ratio beyond which a set is doubted (the paper's gamma).  Around a key, which falls into long gaps more often
than into short ones, the ratios of all sets are larger by 1/23, and so 1.42 is as 1.36 is in the table."""
LIARS = 0.3
"""The part of all nodes up to which a false set is to be found out."""
MISSED = 0.0005
"""The chance that all who are asked of a set that names liars besides others are liars."""
CLUSTER = 1.6
"""Steps of honest nodes' leaf sets are within this of one another, nearly always."""

_MASK = RING - 1


def step(nodes: Sequence[NodeId]) -> float:
    """
    The mean distance between neighbors among C{nodes}, which are given in the order in which they stand on an arc;
    infinite for fewer than two.
    """
    if len(nodes) < 2:
        return float("inf")
    return ((nodes[-1] - nodes[0]) & _MASK) / (len(nodes) - 1)


def usual_step(own: float, others: Sequence[float]) -> float:
    """
    The ring's mean step, from that of our own leaf set and what C{others} state of theirs.

    Who lies states a larger one: nobody has two nodes where there is one.  So the lowest eighth is honest unless seven
    of eight lie, and of the others those count that are about as close.
    """
    steps = sorted([own, *others])
    low = steps[len(steps) // 8]
    near = [each for each in steps if each <= CLUSTER * low]
    return sum(near) / len(near)


def checks(ratio: float) -> int:
    """
    How many members, chosen by chance, have to answer for a set with this C{ratio} of steps.

    L{LIARS} of all nodes fill at most C{LIARS * ratio} of such a set; the others in it are honest, and would name who
    is missing, or do not exist.
    """
    return ceil(log(MISSED) / log(min(0.9, LIARS * max(1.0, ratio))))
