"""
Tests for L{post.cli.starting}.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from post.cli.starting import program, start_command
from tests.scratch import scratch


class StartingTests(SynchronousTestCase):
    """
    An environment with a program of its own, which the search path leads to or not.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)
        self.own, self.other = self.directory / "own", self.directory / "other"
        for place in (self.own, self.other):
            place.mkdir()
            for name in ("python", "twistd"):
                (place / name).write_text("#!/bin/sh\n")
                (place / name).chmod(0o755)
        self.patch(sys, "executable", str(self.own / "python"))

    def said(self, *path: Path) -> str:
        """
        What is to be typed with that search path.
        """
        self.patch(os, "environ", {"PATH": os.pathsep.join(str(each) for each in path)})
        return program("twistd")

    def test_path(self) -> None:
        """
        The name is enough where it leads to this environment, also by a link; another program of that name, or none,
        makes it the whole path.
        """
        links = self.directory / "links"
        links.mkdir()
        (links / "twistd").symlink_to(self.own / "twistd")
        self.assertEqual("twistd", self.said(self.own, self.other))
        self.assertEqual("twistd", self.said(links))
        for path in ((self.other, self.own), (self.directory,)):
            self.assertEqual(str(self.own / "twistd"), self.said(*path))

    def test_command(self) -> None:
        """
        A directory with a space can be pasted into a shell.
        """
        self.patch(os, "environ", {"PATH": str(self.own)})
        self.assertEqual(
            "cd '/a b' && twistd --pidfile=node.pid post --config node.toml", start_command(Path("/a b/node.toml"))
        )
