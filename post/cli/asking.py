"""
What the commands share that ask a running node for something of one of its people.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from post import control
from post.cli.status import node_config
from post.errors import Unreachable

account_option = click.option(
    "--account", default="", metavar="ADDRESS", help="Whose, where several people live on this node."
)
json_option = click.option("--json", "as_json", is_flag=True, help="For programs.")
PATIENCE_S = 120.0
"""For an answer: what is asked for is answered when other machines keep it."""


def ask_node(config: Path | None, verb: str, account: str, **request: Any) -> Any:  # Any: JSON.
    """
    What the running node says.

    @raise Unreachable: if it does not run.
    @raise Declined: if it cannot.
    """
    directory = node_config(config).directory
    whole = {"verb": verb, "account": account, **request}
    try:
        return control.ask(control.find(directory), whole, PATIENCE_S)
    except Unreachable as error:
        raise Unreachable(f"the node in {directory} does not run: start it first ({error})") from None
