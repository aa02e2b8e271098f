"""
What a person sees first: the table of a ring, how to point a mail program at it, and the welcome mail.
"""

from __future__ import annotations

import shlex
import smtplib
from base64 import b64encode
from email.message import EmailMessage
from email.utils import formatdate, make_msgid
from urllib.parse import quote

from post.cli.founding import Plan, PlannedNode
from post.config import split_service

WELCOME = """\
Hello {name},

this is POST. The message that you are reading is not on a mail server: there
is none. It was sealed to you, cut into blocks, and each block was encrypted
and put on {copies} of the {nodes} nodes of this ring, which cannot read it. Your
own node, which your mail program talks to, fetched it from there.

What you can try:

  - Write to {other}. When your mail program says "sent", the message
    is already on other machines: your own could burn that second.
  - Stop the node of {other} ("post ring DIR --stop node2"), write
    again, and start it: the message was waiting on the other nodes.
  - Delete the file journal.sqlite of your account while your node is stopped,
    and start it: folders, flags and messages come back from the ring.

The nodes of this ring all run on one machine, for trying out. In earnest each
person runs one on the computer they already have.
"""


def greet(plan: Plan) -> None:
    """
    Send everybody the welcome mail, through their own node's submission port.

    @raise OSError: if that cannot be done.
    """
    homes = {address: node for node in plan.nodes for address in node.accounts}
    for address, node in homes.items():
        other = next((each for each in homes if each != address), address)
        host, port = split_service(node.submission)
        with smtplib.SMTP(host, port, timeout=30) as client:
            client.ehlo()
            # The library's own login takes ASCII only.
            answer = f"\0{address}\0{plan.passwords[address]}".encode()
            code, text = client.docmd("AUTH", f"PLAIN {b64encode(answer).decode()}")
            if code != 235:
                raise smtplib.SMTPAuthenticationError(code, text)
            client.send_message(_welcome(address, other, len(plan.nodes)))


def _welcome(address: str, other: str, nodes: int) -> EmailMessage:
    message = EmailMessage()
    message["From"] = message["To"] = address
    message["Subject"] = "Welcome to POST"
    message["Date"] = formatdate(localtime=True)
    message["Message-ID"] = make_msgid(domain=address.partition("@")[2])
    name = address.partition("@")[0].capitalize()
    message.set_content(WELCOME.format(name=name, other=other, nodes=nodes, copies=min(3, nodes)))
    return message


def describe(plan: Plan) -> str:
    """
    The ring, and how to use it.
    """
    lines = [f"POST is running: {len(plan.nodes)} nodes, domain {plan.domain}.", ""]
    heads = ("node", "account", "password", "SMTP", "SMTP/TLS", "IMAP", "IMAP/TLS", "POP3", "POP3/TLS")
    rows = [heads, *(_row(plan, node) for node in plan.nodes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines += ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    lines += ["", *_advice(plan), "", "Ctrl-C stops everything; starting again finds all mail."]
    return "\n".join(lines)


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
        f"Set up a mail program for {address}; everything is on this machine (127.0.0.1):",
        "",
        f"  Thunderbird  New account, configure manually.  Incoming: IMAP, 127.0.0.1, port {imap}, connection security",
        f"               none, normal password.  Outgoing: 127.0.0.1, port {smtp}, none, normal password.  User name:",
        f"               {address}",
        f"  mutt         mutt -e 'set folder=imap://{login}@127.0.0.1:{imap}/' \\",
        "                    -e 'set spoolfile=+INBOX ssl_starttls=no ssl_force_tls=no' \\",
        f"                    -e 'set smtp_url=smtp://{login}@127.0.0.1:{smtp}/' \\",
        f"                    -e {shlex.quote(f'set from={address}')}",
        f"  curl         curl --user {shlex.quote(f'{address}:{password}')} 'imap://127.0.0.1:{imap}/INBOX;MAILINDEX=1'",
    ]
