"""
What a node logs, where the settings say so: into a file that is turned over by size, or as JSON.

What may be logged is decided where it is logged: never keys, passwords, codes, subjects or other content.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import IO, cast

from twisted.application.service import IService
from twisted.logger import (
    FileLogObserver,
    ILogObserver,
    LogEvent,
    eventAsText,
    formatEvent,
    formatEventAsClassicLogText,
    formatTime,
)
from twisted.python.components import Componentized
from twisted.python.logfile import LogFile

from post.config import Log


def observer(settings: Log, directory: Path) -> ILogObserver | None:
    """
    Who writes the log; C{None} if that is left to twistd.

    @raise OSError: if the file cannot be written.
    """
    if not (settings.file or settings.json):
        return None
    form = as_json if settings.json else formatEventAsClassicLogText
    if not settings.file:
        return FileLogObserver(sys.stdout, form)
    path = directory / settings.file
    file = LogFile(path.name, str(path.parent), settings.size_mib << 20, 0o600, settings.keep)
    return FileLogObserver(cast(IO[str], file), form)


def use(parent: IService | Componentized, found: ILogObserver | None) -> None:
    """
    Let twistd log through C{found}: it asks the application that it makes of our service, and nobody else.
    """
    if found is not None and isinstance(parent, Componentized):
        parent.setComponent(ILogObserver, found)


def as_json(event: LogEvent) -> str:
    """
    One line: time (RFC 3339), level, who logs, text, and what went wrong, if there is that.
    """
    level = event.get("log_level")
    said = {
        "time": formatTime(event.get("log_time")),
        "level": level.name if level is not None else "info",
        "from": event.get("log_namespace", "-"),
        "text": formatEvent(event),
    }
    if event.get("log_failure") is not None:
        said["failure"] = eventAsText(event, includeTimestamp=False, includeSystem=False)
    return json.dumps(said, ensure_ascii=False) + "\n"
