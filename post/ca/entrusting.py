"""
Making a recovery code known to the authority: the last step, when the ring keeps the sealed copy already.  Until then
the code of before counts, so there is always one with which the mailbox can be had.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import msgspec
from twisted.logger import Logger

from post.ca.questions import ENTRUST, VERSION, Entrust, Entrusted, read, sign_question
from post.home import Home
from post.messaging.account import AccountCredentials
from post.node import Node

Ask = Callable[[str, Callable[[bytes], bytes]], Coroutine[Any, Any, bytes]]
"""Asks the authority a question, which is made when it is known at which door."""


class Entrusting:
    """
    For the accounts of one node.
    """

    log = Logger()

    def __init__(self, home: Home, root: bytes, node: Node, now: Callable[[], int], reload: Callable[[], None]) -> None:
        self._home = home
        self._root = root
        self._node = node
        self._now = now
        self._reload = reload

    def errands(self) -> Sequence[Callable[[Ask], Coroutine[Any, Any, None]]]:
        """
        What the authority is to be told now.
        """
        return [
            partial(self._entrust, opened.credentials)
            for opened in self._node.accounts.opened.values()
            if opened.custody.kept
            and opened.credentials.deposit is not None
            and not opened.credentials.deposit.entrusted
        ]

    async def _entrust(self, account: AccountCredentials, ask: Ask) -> None:
        deposit = account.deposit
        assert deposit is not None

        def made(door: bytes) -> bytes:
            body = Entrust(VERSION, door, self._now(), deposit.claim, deposit.share)
            return sign_question(body, account.key, account.chain)

        read(Entrusted, await ask(ENTRUST, made))
        # Somebody may have made another code meanwhile, or given another password.
        for present in self._home.accounts(self._root):
            if present.address == account.address and present.deposit == deposit:
                self._home.write_account(replace(present, deposit=msgspec.structs.replace(deposit, share=b"")))
                self.log.info("the recovery code of {address} is in force", address=account.address)
        self._reload()
