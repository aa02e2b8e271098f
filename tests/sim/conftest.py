"""
What holds for all tests of imaginary worlds.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from post.sim.world import World


@pytest.fixture(autouse=True)
def worlds() -> Iterator[None]:
    """
    Worlds end with the test that made them.  If they were merely forgotten their coroutines would be closed some time
    later, in no order, and what they say to that be taken for a failure of whichever test runs just then.
    """
    yield
    for world in list(World.all):
        world.end()
    World.all.clear()
