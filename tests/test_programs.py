"""
Tests for L{tests.programs}.
"""

from __future__ import annotations

from pathlib import Path
from unittest import SkipTest

from twisted.trial.unittest import SynchronousTestCase

from tests.programs import EVERYTHING, need


class NeedTests(SynchronousTestCase):
    """
    Tests for L{need}.
    """

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()

    def test_there(self) -> None:
        """
        What is installed is found, whether or not everything has to be.
        """
        program = self.folder / "tool"
        program.touch(0o755)
        for more in ({}, {EVERYTHING: "1"}):
            self.assertEqual(str(program), need("tool", {"PATH": str(self.folder), **more}))

    def test_missing(self) -> None:
        """
        What is not skips the test that needs it, and says what it is.
        """
        error = self.assertRaises(SkipTest, need, "tool", {"PATH": str(self.folder), EVERYTHING: "0"})
        self.assertEqual("tool is not installed", str(error))

    def test_everything(self) -> None:
        """
        Where everything has to be tested, that is a failure.
        """
        error = self.assertRaises(AssertionError, need, "tool", {"PATH": str(self.folder), EVERYTHING: "1"})
        self.assertIn("tool is not installed", str(error))
