"""
The arguments of SMTP commands (RFC 5321, 4.1.2).  Pure.
"""

from __future__ import annotations

import re

PATH_LIMIT = 320

_PATH = re.compile(
    rb'[ ]*<(?:@[^<>:]{1,255}(?:,@[^<>:]{1,255})*:)?((?:"(?:[^"\\\r\n]|\\.)*"|[^<>"\s])*)>(?:[ ]+(.*))?\Z', re.DOTALL
)
_PARAMETER = re.compile(rb"([A-Za-z0-9][A-Za-z0-9-]*)(?:=([!-<>-~]+))?")


class Syntax(Exception):
    """
    The argument is not what the command takes.  The text is for the client.
    """


def path(argument: bytes, keyword: bytes) -> tuple[str, dict[str, str]]:
    """
    The address and parameters of C{FROM:<a@b> SIZE=1} (a source route is dropped, as RFC 5321 asks).

    @raise Syntax: if it is none.
    """
    if argument[: len(keyword)].upper() != keyword:
        raise Syntax(f"write {keyword.decode()}<address>")
    match = _PATH.match(argument[len(keyword) :])
    if match is None or len(match.group(1)) > PATH_LIMIT:
        raise Syntax(f"write {keyword.decode()}<address>")
    try:
        address = match.group(1).decode("ascii")
    except UnicodeDecodeError:
        raise Syntax("addresses are ASCII here") from None
    parameters: dict[str, str] = {}
    for word in (match.group(2) or b"").split():
        found = _PARAMETER.fullmatch(word)
        if found is None:
            raise Syntax("bad parameter")
        parameters[found.group(1).decode().upper()] = (found.group(2) or b"").decode()
    return address, parameters


def printable(text: bytes, limit: int = 255) -> str:
    """
    What may stand in a header line or a reply.
    """
    return re.sub(r"[^!-~]", "?", text.decode("latin-1"))[:limit]
