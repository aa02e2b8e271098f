"""
The arguments of SMTP commands (RFC 5321, 4.1.2).  Pure.

Every expression here takes time linear in its input: it is met by strangers, before anybody has logged in.
"""

from __future__ import annotations

import re

PATH_LIMIT = 320
"""Octets of an address: 64 of the local part, 255 of the domain, and the C{@} (RFC 5321, 4.5.3.1)."""

# Each alternative begins with octets that no other one takes, so there is one way to match and nothing to go back to.
_PATH = re.compile(
    rb"[ ]*<(?:@[^<>:,@\x00-\x20\x7f]+(?:,@[^<>:,@\x00-\x20\x7f]+)*:)?"
    rb'((?:"(?:[^"\\\x00-\x1f\x7f]|\\[ -~])*"|[^<>"\x00-\x20\x7f])*)>(?:[ ]+(.*))?\Z',
    re.DOTALL,
)
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?")
_NEEDLESSLY_QUOTED = re.compile(r"\"([A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]+)\"(@.*)")


class Syntax(Exception):
    """
    The argument is not what the command takes.  The text is for the client, with the code and status to send.
    """

    def __init__(self, words: str, code: int = 501, status: str = "5.5.4") -> None:
        super().__init__(words)
        self.words = words
        self.code = code
        self.status = status


def path(argument: bytes, keyword: bytes) -> tuple[str, dict[str, str]]:
    """
    The address and parameters of C{FROM:<a@b> SIZE=1} (a source route is dropped, as RFC 5321 asks).

    @raise Syntax: if it is none.
    """
    if argument[: len(keyword)].upper() != keyword:
        raise Syntax(f"write {keyword.decode()}<address>")
    match = _PATH.match(argument[len(keyword) :])
    if match is None or len(match[1]) > PATH_LIMIT:
        raise Syntax(f"write {keyword.decode()}<address>")
    if not match[1].isascii():
        raise Syntax("addresses beyond ASCII (SMTPUTF8) are not taken here", 553, "5.6.7")
    # RFC 5321, 4.1.2: with quotes that are not needed it is the same mailbox.
    address = _NEEDLESSLY_QUOTED.sub(r"\1\2", match[1].decode("ascii"))
    parameters: dict[str, str] = {}
    for word in (match[2] or b"").split(b" "):
        found = _PARAMETER.fullmatch(word)
        if not word:
            continue
        if found is None:
            raise Syntax("bad parameter")
        name = found[1].decode().upper()
        if name in parameters:
            raise Syntax("a parameter twice")
        parameters[name] = (found[2] or b"").decode()
    return address, parameters


def host_name(said: bytes, limit: int = 100) -> str:
    """
    What a client called itself, as it may stand in a Received field: nothing in it can open a comment or end the line.
    """
    return re.sub(r"[^A-Za-z0-9.:_\[\]-]", "?", said[:limit].decode("latin-1"))
