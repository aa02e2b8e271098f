"""
Codes as pictures, on a terminal.
"""

from __future__ import annotations

import sys

import segno


def show_qr(code: str) -> None:
    """
    Show C{code}, where that can be seen.
    """
    if _shows_blocks():
        # Level L: it is read from a screen, and there are few columns.
        segno.make_qr(code, error="l").terminal(border=2, compact=True)


def _shows_blocks() -> bool:
    """
    Whether the terminal has the characters of which a QR consists.
    """
    try:
        "▄▀█".encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
