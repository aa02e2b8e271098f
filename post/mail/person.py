"""
One person, as commands and pages see them.
"""

from __future__ import annotations

from dataclasses import dataclass

from post.mail.personal import Personal
from post.mail.showing import Lists


@dataclass(frozen=True)
class Person:
    """
    What they wish of their own mail, and the mailing lists that they maintain.
    """

    wishes: Personal
    lists: Lists
