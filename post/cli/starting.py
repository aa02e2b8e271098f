"""
How a node is started, as commands say it.
"""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path


def program(name: str) -> str:
    """
    What has to be typed for a program of the environment that runs now: its name, if that leads there, and else its
    path.  Another C{twistd}, such as the system's, knows nothing of POST.
    """
    own = Path(sys.executable).with_name(name)
    if not own.exists():
        return name
    found = shutil.which(name)
    return name if found is not None and Path(found).resolve() == own.resolve() else shlex.quote(str(own))


def start_command(config: Path) -> str:
    """
    Starts the node that has the settings C{config}, in the background: from its own directory, where its log goes then.
    """
    where, name = shlex.quote(str(config.parent)), shlex.quote(config.name)
    return f"cd {where} && {program('twistd')} --pidfile=node.pid post --config {name}"
