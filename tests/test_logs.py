"""
Tests for L{post.logs}.
"""

from __future__ import annotations

import json
import stat
from pathlib import Path

from twisted.application.service import Application
from twisted.logger import ILogObserver, Logger
from twisted.python.components import Componentized
from twisted.trial.unittest import SynchronousTestCase

from post import logs
from post.config import Log
from tests.scratch import scratch


class LogTests(SynchronousTestCase):
    """
    A directory, and what is logged into it.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)

    def logger(self, settings: Log) -> Logger:
        """
        Logs as C{settings} say.
        """
        found = logs.observer(settings, self.directory)
        assert found is not None
        return Logger("post.test", observer=found)

    def test_json(self) -> None:
        """
        Each event is one line, which a program can read.
        """
        log = self.logger(Log(file="x.log", json=True))
        log.warn("{name} has\na new line: {number}", name="Zoë", number=7)
        try:
            raise ValueError("seven")
        except ValueError:
            log.failure("it failed")
        first, second = map(json.loads, (self.directory / "x.log").read_text().splitlines())
        self.assertEqual(
            ("warn", "post.test", "Zoë has\na new line: 7"), (first["level"], first["from"], first["text"])
        )
        self.assertRegex(first["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}$")
        self.assertIn("ValueError: seven", second["failure"])

    def test_turned_over(self) -> None:
        """
        The file does not grow beyond its size, and no more than the newest are kept; nobody else may read them.
        """
        log = self.logger(Log(file="x.log", size_mib=1, keep=2))
        for _ in range(50):
            log.info("{text}", text="x" * 100_000)
        names = sorted(path.name for path in self.directory.iterdir())
        self.assertEqual(["x.log", "x.log.1", "x.log.2"], names)
        for name in names:
            found = (self.directory / name).stat()
            self.assertEqual(0o600, stat.S_IMODE(found.st_mode))
            self.assertLess(found.st_size, 1_300_000)

    def test_gone_on(self) -> None:
        """
        What is in the file stays when the node is started again.
        """
        for word in ("first", "second"):
            self.logger(Log(file="x.log")).info(word)
        text = Path(self.directory / "x.log").read_text()
        self.assertTrue(text.index("first") < text.index("second"))

    def test_default(self) -> None:
        """
        Without settings it is twistd that says where.
        """
        self.assertIs(None, logs.observer(Log(), self.directory))

    def test_used(self) -> None:
        """
        twistd finds it where it looks for it; whatever else has a node as its child is left alone.
        """
        application: Componentized = Application("post")
        found = logs.observer(Log(json=True), self.directory)
        logs.use(application, found)
        self.assertIs(found, application.getComponent(ILogObserver))
        logs.use(application, None)
        self.assertIs(found, application.getComponent(ILogObserver))
