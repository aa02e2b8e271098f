"""
Who may ask the page at all, before anybody has logged in (pure).

A browser lets every site that it visits send requests to this machine.  What such a site can do is held off by three
things: it cannot choose the C{Host} that it is taken for (DNS rebinding: a name of its own that leads here is none of
ours), browsers say where a request comes from (C{Origin}, C{Sec-Fetch-Site}), and each form has a token that only our
own pages know (L{post.front.web.sessions}).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")

HEADERS = {
    b"content-security-policy": (
        b"default-src 'none'; style-src 'self'; script-src 'self'; img-src 'self'; connect-src 'self';"
        b" form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    b"x-frame-options": b"DENY",
    b"x-content-type-options": b"nosniff",
    # Not "no-referrer": then browsers send "Origin: null" with our own forms.
    b"referrer-policy": b"same-origin",
    b"cross-origin-opener-policy": b"same-origin",
    b"cross-origin-resource-policy": b"same-origin",
    b"cache-control": b"no-store",
}
"""Of every answer."""


class Forbidden(Exception):
    """
    The request is not answered: the HTTP status, and one line that says why.
    """

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Guard:
    """
    Of one port.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        """
        @param names: under which it may be asked for, besides those of this machine to itself.
        """
        self._names = {name.casefold() for name in (*LOCAL_NAMES, *names)}

    def check(
        self,
        method: bytes,
        hosts: Sequence[bytes],
        origin: bytes | None,
        fetch_site: bytes | None,
        fetch_mode: bytes | None,
    ) -> None:
        """
        @param hosts: the values of all C{Host} fields.
        @param origin, fetch_site, fetch_mode: the last value of each field, if there is one.
        @raise Forbidden: if this request is not to be answered.
        """
        host = hosts[0].decode("latin-1").strip() if len(hosts) == 1 else ""
        if _name(host) not in self._names:
            raise Forbidden(421, "This page answers to names that are set only: localhost, and names in [web].")
        changes = method not in (b"GET", b"HEAD")
        # Somebody else's page may link to us (nobody is logged in then, the cookie being strict), and do nothing else.
        foreign = fetch_site is not None and fetch_site not in (b"same-origin", b"none")
        if foreign and (changes or fetch_mode != b"navigate"):
            raise Forbidden(403, "This request comes from another site.")
        if changes and origin is not None and _authority(origin) != host.casefold():
            raise Forbidden(403, "This form comes from another site.")


def _name(host: str) -> str:
    """
    Of C{host:port} the host, as it is compared.
    """
    if host.startswith("["):
        literal, bracket, rest = host[1:].partition("]")
        return literal.casefold() if bracket and (not rest or _is_port(rest)) else ""
    name, colon, port = host.partition(":")
    return name.casefold() if not colon or _is_port(colon + port) else ""


def _is_port(text: str) -> bool:
    return text.startswith(":") and text[1:].isascii() and text[1:].isdigit()


def _authority(origin: bytes) -> str:
    scheme, colon, rest = origin.decode("latin-1").strip().partition("://")
    return rest.casefold() if colon and scheme in ("http", "https") else ""
