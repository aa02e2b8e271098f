"""
C{post rules}: what becomes of the messages that come to a person.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import click

from post.cli.asking import account_option, ask_node, json_option
from post.cli.status import config_option

HELP = """
What becomes of a message that comes, before anything of it is fetched.

\b
A rule is one line: ACTION [if CONDITION [and CONDITION]...]
  accept, folder NAME, quarantine (into Junk), ignore
  sender PATTERN, verified PATTERN, to PATTERN, tag NAME, subject TEXT,
  size > N, size < N (K, M, G), each with "not" before it if wanted
  PATTERN: an address, a domain, *@domain, *@*.domain or *

The first rule that matches decides; what none matches goes to the Inbox.  Who is on the block list (post block) is
ignored before any rule is looked at.
"""


@click.group(help=HELP)
def rules() -> None:
    """
    See L{HELP}.
    """


@rules.command("list")
@config_option
@account_option
@json_option
@click.option("--ignored", is_flag=True, help="What was ignored lately, and why, instead.")
def show(config: Path | None, account: str, as_json: bool, ignored: bool) -> None:
    """
    Show the rules, by number.
    """
    found = ask_node(config, "rules", account, do="list")
    if as_json:
        click.echo(json.dumps(found, indent=1))
    elif ignored:
        for each in found["ignored"]:
            at = time.strftime("%Y-%m-%d %H:%M", time.localtime(each["date"]))
            click.echo(f"{at}  {each['sender']}  ({each['reason']})")
    else:
        _print(found)


@rules.command()
@config_option
@account_option
@click.option("--place", type=int, help="Before the rule that has this number now; after all if not given.")
@click.argument("rule", nargs=-1, required=True)
def add(config: Path | None, account: str, place: int | None, rule: tuple[str, ...]) -> None:
    """
    Add the rule RULE, such as: folder Lists if to team@example.org

    Where the shell takes words apart, put the whole rule in single quotes.
    """
    _print(ask_node(config, "rules", account, do="add", rule=" ".join(rule), place=place))


@rules.command()
@config_option
@account_option
@click.argument("number", type=int)
def remove(config: Path | None, account: str, number: int) -> None:
    """
    Remove the rule that has this NUMBER in "post rules list".
    """
    found = ask_node(config, "rules", account, do="remove", place=number)
    click.echo(f"removed: {found['removed']}")
    _print(found)


@rules.command()
@config_option
@account_option
@click.option("--sender", required=True, help="Who it says sent it.")
@click.option("--verified", default="", help="Who did, if it was somebody else.")
@click.option("--to", default="", help="The address to which it was sent.")
@click.option("--subject", default="", help="As it would stand in the message.")
@click.option("--size", type=int, default=0, help="In octets.")
def test(config: Path | None, account: str, **message: Any) -> None:  # Any: texts, and a number.
    """
    Say what would become of a message.
    """
    found = ask_node(config, "rules", account, do="test", **message)
    where = f" {found['folder']}" if found["folder"] else ""
    click.echo(f"{found['action']}{where} ({found['reason']})")


@rules.command()
@config_option
@account_option
@click.argument("bits", type=int, required=False)
def puzzle(config: Path | None, account: str, bits: int | None) -> None:
    """
    Let strangers work before they write: BITS of difficulty, 0 for none.

    20 is about a second of a desktop, each one more twice as long.  Strangers are colleagues to whom you never wrote
    and whose mail was never in your Inbox; without the work their mail goes to Junk.  Mail from the Internet is judged
    by the gateway.
    """
    found = ask_node(config, "rules", account, do="puzzle", bits=bits)
    if found["bits"]:
        click.echo(f"strangers have to solve a puzzle of {found['bits']} bits")
    else:
        click.echo("strangers have nothing to solve")


def _print(found: dict[str, Any]) -> None:
    for number, line in enumerate(found["rules"], 1):
        click.echo(f"{number:3}  {line}")
    if not found["rules"]:
        click.echo("no rules: everything that is not blocked goes to the Inbox")
