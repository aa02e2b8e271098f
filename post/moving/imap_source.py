"""
Another IMAP server as a source, by IMAPClient.

Messages are asked for some at a time, so that a distant server need not be waited for at each.  What the server says is
believed as far as memory goes: nothing longer than a message may be is read.
"""

from __future__ import annotations

import ssl
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from imapclient import IMAPClient
from imapclient.exceptions import IMAPClientAbortError, IMAPClientError, LoginError

from post.errors import ConfigError, Unreachable
from post.moving.mbox import field_date
from post.moving.names import from_levels
from post.moving.source import Broken, Loaded, SourceFolder, SourceMessage, Unfit

ANSWER_S = 120.0
"""For an answer; large folders take some servers a minute."""
WINDOW = 1 << 16
"""UIDs looked through at once: the answer has to fit into a line of 1 MB, which is what imaplib reads."""
PAGE = 500
"""Messages whose sizes and flags are asked for at once."""
AHEAD = 50
AHEAD_BYTES = 4 * 1024 * 1024
"""Messages, and their octets, that are asked for at once; one may be longer."""
SLACK_BYTES = 1024 * 1024
"""Some servers do not know exactly how long a message is."""
USES = ("\\Sent", "\\Drafts", "\\Junk", "\\Trash", "\\Archive")
KNOWN = {
    "sent": "\\Sent",
    "sent items": "\\Sent",
    "sent messages": "\\Sent",
    "drafts": "\\Drafts",
    "junk": "\\Junk",
    "junk e-mail": "\\Junk",
    "spam": "\\Junk",
    "trash": "\\Trash",
    "deleted items": "\\Trash",
    "deleted messages": "\\Trash",
    "archive": "\\Archive",
}
"""What folders of these uses are called where the server does not say (RFC 6154)."""
UNCHECKED = "none"
SECURITY = ("tls", "starttls", UNCHECKED)

_ABSENT = {"\\noselect", "\\nonexistent"}


@dataclass(frozen=True)
class Login:
    """
    How a server is reached.  C{insecure}: its certificate is not checked, and C{security} may be L{UNCHECKED}.
    """

    host: str
    port: int
    security: str
    insecure: bool
    authority: Path | None
    user: str
    password: str


def connect(login: Login, octets_limit: int) -> Any:  # An IMAPClient, which is not annotated.
    """
    A connection, logged in.

    @raise Unreachable: if nobody answers.
    @raise ConfigError: if the server cannot be trusted, or does not let us in.
    """
    where = f"{login.host}:{login.port}"
    try:
        context = ssl.create_default_context(cafile=login.authority)
        if login.insecure:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        client = IMAPClient(login.host, login.port, ssl=login.security == "tls", ssl_context=context, timeout=ANSWER_S)
        _limit(client, octets_limit + SLACK_BYTES)
        client.normalise_times = False
        if login.security == "starttls":
            client.starttls(context)
        client.login(login.user, login.password)
    except ssl.SSLCertVerificationError as error:
        reason = f"its certificate cannot be trusted: {error.verify_message}; --ca FILE names who issued it"
        raise ConfigError(where, reason) from None
    except LoginError as error:
        raise ConfigError(where, f"does not let {login.user} in: {_words(error)}") from None
    except IMAPClientError as error:
        raise ConfigError(where, f"cannot be used as asked for (--security): {_words(error)}") from None
    except OSError as error:
        raise Unreachable(f"{where}: {error.strerror or error}") from None
    return client


def _limit(client: Any, limit: int) -> None:
    """
    Let nothing longer than C{limit} be read at once, whatever a server announces.
    """
    # The one thing that IMAPClient leaves to imaplib, which would read any length that it is told.
    imap = client._imap
    read: Callable[[int], bytes] = imap.read

    def limited(size: int) -> bytes:
        if size > limit:
            raise IMAPClientAbortError(f"it announces {size} octets at once")
        return read(size)

    imap.read = limited


def _words(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


class ImapSource:
    """
    The mailbox behind C{client}, a connected IMAPClient.  C{wanted} says of each folder, by its name at the server,
    whether to take it.
    """

    def __init__(self, client: Any, where: str, size_limit: int, wanted: Callable[[str], bool]) -> None:
        self._client = client
        self._where = where
        self._size_limit = size_limit
        self._wanted = wanted
        self._fetched: dict[int, bytes | None] = {}

    def _ask(self, what: str, *arguments: Any) -> Any:
        """
        What the server answers.

        @raise Broken: if it refuses.
        @raise Unreachable: if it does not answer any more.
        """
        try:
            return getattr(self._client, what)(*arguments)
        except (IMAPClientAbortError, OSError) as error:
            raise Unreachable(f"{self._where}: the connection has ended: {_words(error)}") from None
        except (IMAPClientError, ValueError, LookupError, TypeError, AssertionError) as error:
            raise Broken(f"the server refuses it, or answers what cannot be read: {_words(error)}") from None

    def folders(self) -> Iterator[SourceFolder]:
        """
        As L{post.moving.source.Source}.
        """
        try:
            listed = self._ask("list_folders")
            spaces = self._ask("namespace").personal if self._ask("has_capability", "NAMESPACE") else ()
        except Broken as error:
            raise Unreachable(f"{self._where}: {error}") from None
        prefix = str(spaces[0][0] or "") if spaces else ""
        found = [(_texts(flags), _text(delimiter) if delimiter else "", str(name)) for flags, delimiter, name in listed]
        said = {use for flags, _, _ in found for use in USES if use.lower() in flags}
        for flags, delimiter, name in found:
            if flags & _ABSENT or not self._wanted(name):
                continue
            own = name.removeprefix(prefix) if name.upper() != "INBOX" else name
            levels = own.split(delimiter) if delimiter else [own]
            use = next((use for use in USES if use.lower() in flags), "")
            guess = KNOWN.get(own.lower(), "")
            yield SourceFolder(from_levels(levels), use or (guess if guess not in said else ""), name)

    def count(self, folder: SourceFolder) -> int:
        """
        As L{post.moving.source.Source}.
        """
        try:
            return int(self._ask("folder_status", folder.where, ["MESSAGES"])[b"MESSAGES"])
        except (Broken, LookupError, ValueError):
            return 0  # Told when it is opened.

    def messages(self, folder: SourceFolder) -> Iterator[SourceMessage | Unfit]:
        """
        As L{post.moving.source.Source}.
        """
        self._fetched.clear()
        selected = self._ask("select_folder", folder.where, True)
        validity = selected.get(b"UIDVALIDITY", 0)
        for first in range(1, self._last(selected) + 1, WINDOW):
            there = sorted(self._ask("search", ["UID", f"{first}:{first + WINDOW - 1}"]))
            for start in range(0, len(there), PAGE):
                page = self._ask("fetch", there[start : start + PAGE], ["FLAGS", "INTERNALDATE", "RFC822.SIZE"])
                yield from self._page(folder, validity, page)

    def _last(self, selected: dict[bytes, Any]) -> int:
        if not selected.get(b"EXISTS"):
            return 0
        if b"UIDNEXT" in selected:
            return int(selected[b"UIDNEXT"]) - 1
        return max(self._ask("search", ["UID", "*"]), default=0)

    def _page(
        self, folder: SourceFolder, validity: int, page: dict[int, dict[bytes, Any]]
    ) -> Iterator[SourceMessage | Unfit]:
        sizes = {uid: int(found.get(b"RFC822.SIZE", 0)) for uid, found in page.items()}
        for uid, found in page.items():
            where = f"{folder.where}, UID {uid}"
            if sizes[uid] > self._size_limit:
                yield Unfit(where, f"is longer than the {self._size_limit} octets that a message may have")
                continue
            flags = frozenset(_text(flag) for flag in found.get(b"FLAGS", ()))
            date = found.get(b"INTERNALDATE")
            read = partial(self._read, uid, flags, date if isinstance(date, datetime) else None, sizes)
            yield SourceMessage(where, read, f"{validity}.{uid}", str(sizes[uid]))

    def _read(self, uid: int, flags: frozenset[str], date: datetime | None, sizes: dict[int, int]) -> Loaded:
        if uid not in self._fetched:
            self._fetched = self._fetch(_ahead(uid, sizes))
        octets = self._fetched.pop(uid, None)
        if octets is None:
            # With others it may have been refused because of one of them.
            octets = self._fetch([uid]).get(uid)
        if octets is None:
            raise Broken("is not there any more")
        if not octets:
            raise Broken("is empty")
        if len(octets) > self._size_limit:
            raise Broken(f"is longer than the {self._size_limit} octets that a message may have")
        when = max(0, int(date.timestamp() * 1000)) if date else field_date(octets[:SLACK_BYTES]) or 0
        return Loaded(octets, flags, when)

    def _fetch(self, uids: Sequence[int]) -> dict[int, bytes | None]:
        try:
            answer = self._ask("fetch", uids, ["BODY.PEEK[]"])
        except Broken:
            if len(uids) == 1:
                raise
            return {}
        return {uid: answer[uid].get(b"BODY[]") for uid in uids if uid in answer}


def _ahead(uid: int, sizes: dict[int, int]) -> list[int]:
    """
    The message C{uid} and those behind it that may come with it.
    """
    chosen, total = [uid], sizes[uid]
    for other, size in sizes.items():
        if other > uid:
            total += size
            if total > AHEAD_BYTES or len(chosen) >= AHEAD:
                break
            chosen.append(other)
    return chosen


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _texts(values: Sequence[bytes | str]) -> set[str]:
    return {_text(value).lower() for value in values}
