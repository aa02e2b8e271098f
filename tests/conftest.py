"""
What holds for all tests.
"""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

# How long an example takes says more about the machine than about us.
settings.register_profile("post", deadline=None)
settings.load_profile("post")


@pytest.fixture(scope="session", autouse=True)
def scratch(tmp_path_factory: pytest.TempPathFactory) -> None:
    """
    Trial's C{mktemp} makes directories where one happens to be: that shall not be the repository.
    """
    os.chdir(tmp_path_factory.mktemp("scratch"))
