"""
Reading again what is on our own disk, at a bounded rate, to find out what the disk has damaged while there are other
copies to mend it from.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.errors import PostError
from post.ids import RING
from post.interfaces import Holding, IBlockStore
from post.tasks import Tasks

PERIOD_S = 10.0
"""Between two looks."""
BYTES = 1024 * 1024
"""Read in one look, some 3 ms of the reactor: 10 GB take a bit more than a day."""
OBJECTS = 200
"""Small ones cost by number and not by size."""


class Scrub:
    """
    Goes round the objects of one node, again and again.
    """

    log = Logger()

    def __init__(
        self,
        store: IBlockStore,
        clock: IReactorTime,
        tasks: Tasks,
        mend: Callable[[Holding], Coroutine[Any, Any, None]],
    ) -> None:
        self._store = store
        self._clock = clock
        self._tasks = tasks
        self._mend = mend
        self._place = 0

    def start(self) -> None:
        """
        Look now and then from now on.
        """
        self._tasks.every(self._clock, lambda: PERIOD_S, self._look)

    async def _look(self) -> None:
        damaged = []
        size = 0
        for count, holding in enumerate(self._store.scan(self._place, RING), 1):
            self._place = holding.handle + 1
            size += holding.size_bytes
            if not self._is_intact(holding):
                damaged.append(holding)
            if size >= BYTES or count >= OBJECTS:
                break
        else:
            self._place = 0
        for holding in damaged:
            self.log.warn("{handle} was damaged on disk", handle=holding.handle)
            await self._mend(holding)

    def _is_intact(self, holding: Holding) -> bool:
        try:
            return self._store.get(holding.handle) is not None
        except PostError:
            return False
