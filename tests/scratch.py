"""
A directory for one test, gone afterwards.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase


def scratch(case: SynchronousTestCase) -> Path:
    """
    A new, private directory with a short path, so that a socket fits in.
    """
    directory = tempfile.TemporaryDirectory(prefix="post-test-")
    case.addCleanup(directory.cleanup)
    return Path(directory.name)
