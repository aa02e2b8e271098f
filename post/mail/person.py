"""
One person, as commands and pages see them.
"""

from __future__ import annotations

from dataclasses import dataclass

from post.mail.blocklists import BlockLists
from post.mail.personal import Personal
from post.mail.showing import Lists


@dataclass(frozen=True)
class Person:
    """
    What they wish of their own mail, the mailing lists that they maintain, and the block lists that they share and
    follow.
    """

    wishes: Personal
    lists: Lists
    blocking: BlockLists
