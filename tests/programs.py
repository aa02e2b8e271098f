"""
Programs that a test runs besides our own, and that not every machine has.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from shutil import which
from unittest import SkipTest

EVERYTHING = "POST_TEST_EVERYTHING"
"""If this is 1 in the environment, what is missing is a failure: where all tests are meant to run, none is left out."""


def need(program: str, environment: Mapping[str, str] = os.environ) -> str:
    """
    The path of C{program}.

    @raise SkipTest: if it is not installed, unless everything has to be tested.
    """
    path = which(program, path=environment.get("PATH"))
    if path is not None:
        return path
    if environment.get(EVERYTHING) == "1":
        raise AssertionError(f"{program} is not installed, and {EVERYTHING}=1")
    raise SkipTest(f"{program} is not installed")
