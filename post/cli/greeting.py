"""
What a person sees first: the table of a ring, how to point a mail program at it, and the welcome mail.
"""

from __future__ import annotations

import imaplib
import os
import shlex
import smtplib
import sys
from base64 import b64encode
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from pathlib import Path
from urllib.parse import quote

from post.cli.founding import Plan, PlannedNode
from post.config import split_service

WELCOME = """\
Hello {name},

this is POST. The message that you are reading is not on a mail server: there
is none. It was sealed to you, cut into blocks, and each block was encrypted
and put on {copies} of the {nodes} nodes of this ring, which cannot read it. Your own
node, {home}, which your mail program talks to, fetched it from there.

What you can try:

{trials}
The nodes of this ring all run on one machine, for trying out. In earnest each
person runs one on the computer they already have.
"""

WRITE = """\
  - Write to {other}. When your mail program says "sent", the
    message is already on other machines: your own could burn that second.
"""
STOP = """\
  - Stop the node of {other}:
        {command} {directory} --stop {away}
    write again, and start it (--start {away}): the message was waiting on the
    other nodes.
"""
FORGET = """\
  - Stop your own node (--stop {home}), delete the files journal.sqlite* in
        {directory}/{home}/accounts/{address}
    and start it again: folders, flags and messages come back from the ring.
"""


def greet(plan: Plan, directory: Path) -> None:
    """
    Send everybody the welcome mail, through their own node's submission port.  It is nothing that they wrote, so the
    copy in their Sent goes.

    @raise OSError: if that cannot be done.
    """
    homes = {address: node for node in plan.nodes for address in node.accounts}
    for address, node in homes.items():
        others = [each for each in homes if homes[each] is not node]
        message = welcome(plan, directory, address, node, others[0] if others else "")
        host, port = split_service(node.submission)
        with smtplib.SMTP(host, port, timeout=30) as client:
            client.ehlo()
            # The library's own login takes ASCII only.
            answer = f"\0{address}\0{plan.passwords[address]}".encode()
            code, text = client.docmd("AUTH", f"PLAIN {b64encode(answer).decode()}")
            if code != 235:
                raise smtplib.SMTPAuthenticationError(code, text)
            client.send_message(message)
        _clear_sent(node, answer)


def _clear_sent(node: PlannedNode, answer: bytes) -> None:
    host, port = split_service(node.imap)
    try:
        with imaplib.IMAP4(host, port, timeout=30) as client:
            client.authenticate("PLAIN", lambda _: answer)
            client.select("Sent")
            client.uid("STORE", "1:*", "+FLAGS.SILENT", "(\\Deleted)")
            client.close()
    except imaplib.IMAP4.error as error:
        raise OSError(str(error)) from None


def welcome(plan: Plan, directory: Path, address: str, node: PlannedNode, other: str) -> EmailMessage:
    """
    The welcome mail for C{address}, who lives on C{node}; C{other} is somebody to write to, if there is anybody.
    """
    message = EmailMessage()
    message["From"] = message["To"] = address
    message["Subject"] = "Welcome to POST"
    message["Date"] = formatdate(localtime=True)
    message["Message-ID"] = make_msgid(domain=address.partition("@")[2])
    nodes = len(plan.nodes)
    trials = []
    if other and nodes > 1:
        trials.append(WRITE)
        # With fewer, one that is off is one too many for the policy's minimum.
        if nodes > 3:
            trials.append(STOP)
    if nodes > 3:
        trials.append(FORGET)
    away = next((each.name for each in plan.nodes if other in each.accounts), "")
    facts = {
        "name": address.partition("@")[0].capitalize(),
        "nodes": nodes,
        "copies": min(3, nodes),
        "home": node.name,
        "address": address,
        "other": other,
        "away": away,
        "command": f"{command()} ring",
        "directory": shlex.quote(shown(directory)),
    }
    text = "".join(trials) or "  - Write to yourself.\n"
    message.set_content(WELCOME.format(trials=text.format(**facts), **facts))
    return message


def command() -> str:
    """
    How C{post} was called, so that it can be called so again.
    """
    called = Path(sys.argv[0])
    return sys.argv[0] if called.name == "post" else f"{shown(Path(sys.executable))} -m post.cli"


def shown(path: Path) -> str:
    """
    A path as it is short from here.
    """
    relative = os.path.relpath(path)
    return relative if len(relative) < len(str(path)) else str(path)


def describe(plan: Plan, directory: Path) -> str:
    """
    The ring, and how to use it; no line is longer than a terminal is wide unless a name or password is.
    """
    lines = [f"POST is running: {len(plan.nodes)} nodes, domain {plan.domain}.", ""]
    heads = ("node", "account", "password", "SMTP", "TLS", "IMAP", "TLS", "POP3", "TLS")
    rows = [heads, *(_row(plan, node) for node in plan.nodes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines += [" ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    where = shown(directory)
    return "\n".join(
        [
            *lines,
            *(
                f"{node.name} is a gateway: mail from the Internet by SMTP at {node.smtp}"
                for node in plan.nodes
                if node.smtp
            ),
            "",
            *_advice(plan),
            "",
            f"What the nodes do is in {where}/node*/node.log; one of them, as it is:",
            f"  {command()} status --config {shlex.quote(where)}/node1",
            "",
            "Nobody here has a recovery code, since no node asks an authority: those that",
            f"{command()} init and join make print one.",
            "",
            "Ctrl-C stops everything; starting again finds all mail.",
        ]
    )


def _row(plan: Plan, node: PlannedNode) -> tuple[str, ...]:
    address = node.accounts[0] if node.accounts else ""
    services = (node.submission, node.submissions, node.imap, node.imaps, node.pop3, node.pop3s)
    ports = [service.rpartition(":")[2] or "-" for service in services]
    return (node.name, address or "-", plan.passwords.get(address, "-"), *ports)


def _advice(plan: Plan) -> list[str]:
    node = next((node for node in plan.nodes if node.accounts), None)
    if node is None:
        return []
    address = node.accounts[0]
    password = plan.passwords[address]
    # In a URL, what is no letter or digit would mean something else.
    login = f"{quote(address.partition('@')[0], safe='')}:{quote(password, safe='')}"
    imap, smtp = node.imap.rpartition(":")[2], node.submission.rpartition(":")[2]
    return [
        f"To use a mail program as {address} (for the others with their ports):",
        "",
        "Thunderbird: New Account, Email; name, address and password as above;",
        "  Configure manually.  It warns that the connection is not encrypted:",
        "  it does not leave this machine.",
        f"  Incoming: IMAP  server 127.0.0.1  port {imap}  security: None",
        f"            authentication: Normal password  user name: {address}",
        f"  Outgoing: SMTP  server 127.0.0.1  port {smtp}  security: None",
        f"            authentication: Normal password  user name: {address}",
        "",
        f"mutt -e 'set folder=imap://{login}@127.0.0.1:{imap}/' \\",
        "  -e 'set spoolfile=+INBOX record= ssl_starttls=no ssl_force_tls=no' \\",
        f"  -e 'set smtp_url=smtp://{login}@127.0.0.1:{smtp}/' \\",
        f"  -e {shlex.quote(f'set from={address}')}",
        "",
        f"curl --user {shlex.quote(f'{address}:{password}')} \\",
        f"  'imap://127.0.0.1:{imap}/INBOX;MAILINDEX=1'",
        *(["", f"How all this is, in a browser: http://{node.web}/"] if node.web else []),
    ]
