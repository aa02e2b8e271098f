"""
What can go wrong, sorted by whose fault it is.

C{ValueError} and C{AssertionError} mean a bug of ours.  Bytes from outside raise only L{PeerError} and its kin.
"""


class PostError(Exception):
    """
    Anything that POST itself raises on purpose.
    """


class PeerError(PostError):
    """
    A peer, or bytes from outside, broke the rules: drop, count, go on.
    """


class BadSignature(PeerError):
    """
    A signature, certificate or sealed message that does not verify.
    """


class Unreachable(PostError):
    """
    A peer did not answer in time, or there is no way to it.
    """


class Refused(PostError):
    """
    A peer answered that it will not: C{code} is one of L{post.wire.RefusalCode}.
    """

    def __init__(self, code: int, text: str = "") -> None:
        super().__init__(code, text)
        self.code = code
        self.text = text


class Overloaded(PostError):
    """
    A limit of ours is reached; the same request may succeed later.
    """


class NotFound(PostError):
    """
    Nobody who should have it has it.
    """


class TooFewReplicas(PostError):
    """
    Fewer copies than the policy's minimum could be made; nothing may be promised.
    """

    def __init__(self, copies: int, needed: int) -> None:
        super().__init__(f"{copies} of {needed} copies")
        self.copies = copies
        self.needed = needed


class Conflict(PostError):
    """
    Somebody holds a newer or rival version of a public-key block than the one being written.
    """

    def __init__(self, current: bytes) -> None:
        super().__init__("a newer or rival version exists")
        self.current = current


class Unconfirmed(PostError):
    """
    Too few holders answered to know that what was read is the newest.
    """


class ConfigError(PostError):
    """
    A setting, key file or data directory that cannot be used: C{where} (file, or file and key) and why.
    """

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"{where}: {reason}")
        self.where = where
        self.reason = reason
