"""
C{twistd post}: what twistd is told of a node, and what is told to whoever starts one.

A node that cannot run as it is configured ends with one line on standard error and C{EXIT_CONFIG}: a bad setting, a
missing key, a foreign or newer directory, a port in use.
"""

from __future__ import annotations

from pathlib import Path

from twisted.application.service import Service
from twisted.python import usage

from post.config import load
from post.daemon import NodeService
from post.errors import ConfigError
from post.process import give_up


class Options(usage.Options):
    """
    C{twistd post --config FILE}.
    """

    optParameters = [["config", "c", "node.toml", "The node's settings."]]
    optFlags = [
        ["found", None, "Found a ring instead of entering one through the seeds."],
        ["log-json", None, "Log one JSON object in each line, as log.json says."],
    ]
    longdesc = "Runs a node of POST.  See conf/node.toml for what can be set."

    def postOptions(self) -> None:
        try:
            self["settings"] = load(Path(self["config"]))
        except ConfigError as error:
            give_up(error)


def makeService(options: Options) -> Service:
    """
    The node that C{options} describe.
    """
    from twisted.internet import reactor

    try:
        service = NodeService(reactor, options["settings"], bool(options["found"]))
        service.log_with(bool(options["log-json"]))
        return service
    except (ConfigError, OSError) as error:  # The second: a disk that is full, a directory of somebody else.
        give_up(error)
