"""
Flags of messages, here and in files (pure).

Here they are IMAP's: C{\\Seen}, keywords such as C{$Forwarded}.  A Maildir has letters behind C{":2,"} in the name of
a file, and in Dovecot's form small letters for the keywords that the file C{dovecot-keywords} lists.  An mbox has the
fields Status and X-Status.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

LETTERS = {
    "D": "\\Draft",
    "F": "\\Flagged",
    "P": "$Forwarded",
    "R": "\\Answered",
    "S": "\\Seen",
    "T": "\\Deleted",
}
"""As in https://cr.yp.to/proto/maildir.html; "passed" is what mail programs call forwarded."""
KEYWORDS_LIMIT = 26
"""Of a folder: there are no more small letters."""
KEYWORD_LENGTH = 100
STATUS = {"R": "\\Seen"}
X_STATUS = {"A": "\\Answered", "F": "\\Flagged", "T": "\\Draft", "D": "\\Deleted"}

_KEYWORD = re.compile(r"[^\x00-\x20(){%*\"\\\]\x7f-\U0010ffff]{1,100}")
_LINE = re.compile(r"([0-9]{1,2}) (\S+)")


def is_keyword(word: str) -> bool:
    """
    Whether IMAP can have C{word} as a keyword (RFC 3501, "flag-keyword").
    """
    return _KEYWORD.fullmatch(word) is not None


def read_keywords(text: str) -> dict[str, str]:
    """
    The keywords in a file C{dovecot-keywords}, by their letter; lines that make no sense are passed over.
    """
    found = {}
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match and int(match[1]) < KEYWORDS_LIMIT and is_keyword(match[2]):
            found[chr(ord("a") + int(match[1]))] = match[2]
    return found


def write_keywords(keywords: Sequence[str]) -> str:
    """
    The file for C{keywords}, the first of which is C{"a"}.
    """
    return "".join(f"{number} {keyword}\n" for number, keyword in enumerate(keywords))


def from_letters(letters: str, keywords: Mapping[str, str]) -> frozenset[str]:
    """
    The flags that a file's name says; letters of no meaning are passed over.
    """
    named = {**LETTERS, **keywords}
    return frozenset(named[letter] for letter in letters if letter in named)


def to_letters(flags: Iterable[str], keywords: Mapping[str, str]) -> str:
    """
    The letters for C{flags}, in the order that the format wants; C{keywords} has letters by keyword.  What is forwarded
    has both kinds, since not every program knows both.
    """
    usual = {flag: letter for letter, flag in LETTERS.items()}
    found = {letters[flag] for flag in flags for letters in (usual, keywords) if flag in letters}
    return "".join(sorted(found))


def from_status(status: str, x_status: str, keywords: str) -> frozenset[str]:
    """
    The flags that an mbox's fields say: Status, X-Status and X-Keywords.
    """
    found = {STATUS[letter] for letter in status if letter in STATUS}
    found |= {X_STATUS[letter] for letter in x_status if letter in X_STATUS}
    return frozenset(found | {word for word in re.split(r"[\s,]+", keywords) if is_keyword(word)})


def to_status(flags: Iterable[str]) -> tuple[str, str, str]:
    """
    The three fields for C{flags}.  "O" says that the message is not new, which we do not tell apart.
    """
    flags = set(flags)
    status = "".join(letter for letter, flag in STATUS.items() if flag in flags) + "O"
    x_status = "".join(letter for letter, flag in X_STATUS.items() if flag in flags)
    return status, x_status, " ".join(sorted(flag for flag in flags if not flag.startswith("\\")))
