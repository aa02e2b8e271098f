"""
What members ask of their authority, and its answers: one HTTPS request each, C{POST /post/1/QUESTION}, MessagePack both
ways.

A newcomer's question (C{join}) is proven by the secret of its code, a member's (C{news}, C{log}, C{renew}) is signed by
the key that the authority has certified.  A machine that takes the place of a lost one signs (C{recover}) with a key
that follows from a recovery code, which its owner has made known (C{entrust}).  All name the door certificate of the
TLS connection they travel in, so that neither can be handed on to another authority, and members' name the time, so
that an old one tells nobody anything.

Who answers has shown a door certificate under the root; it is checked before anything is asked.
"""

from __future__ import annotations

import hmac
from typing import Annotated, TypeVar

from msgspec import Meta

from post.crypto.certificates import SIZE_LIMIT
from post.crypto.issuance import ENTRY_LIMIT, HEAD_LIMIT, LENGTH_LIMIT
from post.crypto.keys import LogKey, SigningKey, verify
from post.errors import BadSignature, PeerError
from post.hashes import Purpose, keyed, tagged
from post.wire import Document, pack, unpack

PREFIX = "/post/1/"
GREETING = "authority"
JOIN, NEWS, RENEW = "join", "news", "renew"
ENTRUST, RECOVER = "entrust", "recover"
LOG = "log"

VERSION = 1
QUESTION_LIMIT = 32 * 1024
"""Bytes of a question: four certificates at most, and some addresses."""
ANSWER_LIMIT = 32 * 1024 * 1024
"""Bytes of an answer: a directory of 100,000 people and as many nodes has about 15 MB."""
PAGE_LIMIT = 4000
"""Entries of the public log in one answer: a megabyte."""
SKEW_S = 600
"""By how much the clocks of a member and the authority may differ.  Certificates begin an hour before they are made, so
that the smaller differences do no harm; a larger one would spoil dates of mail and leases."""

Certificate = Annotated[bytes, Meta(max_length=SIZE_LIMIT)]
Chain = Annotated[tuple[Certificate, ...], Meta(max_length=2)]
Hash = Annotated[bytes, Meta(min_length=32, max_length=32)]
Name = Annotated[bytes, Meta(min_length=16, max_length=16)]
Where = Annotated[str, Meta(max_length=260)]
Addresses = Annotated[tuple[Where, ...], Meta(max_length=4)]
Seeds = Annotated[tuple[Where, ...], Meta(max_length=100)]
Number = Annotated[int, Meta(ge=0, lt=1 << 62)]
PublicKey = Annotated[bytes, Meta(max_length=64)]


class Greeting(Document, frozen=True):
    """
    The certificates above the door's, and the authority's time.
    """

    version: int
    issuing: Certificate
    root: Certificate
    time: Number


class Join(Document, frozen=True):
    """
    Certify these keys.  C{addresses} are those at which the new node will be reached.
    """

    version: int
    door: Hash
    node_request: Certificate
    user_request: Certificate
    addresses: Addresses


class Welcome(Document, frozen=True):
    """
    All that makes a member.
    """

    version: int
    address: Where
    node_chain: Chain
    user_chain: Chain
    membership: bytes
    seeds: Seeds


class Proven(Document, frozen=True):
    """
    C{body} from one who knows the secret of the code C{name}.
    """

    version: int
    name: Name
    body: bytes
    proof: Hash


class AskNews(Document, frozen=True):
    """
    Whatever is newer than this.  C{addresses} are those at which the asker is reached; C{revoked} is the serial of the
    list of what is revoked, 0 for none.
    """

    version: int
    door: Hash
    time: Number
    policy: Number
    directory: Number
    addresses: Addresses
    revoked: Number = 0


class News(Document, frozen=True):
    """
    Policy, directory and list of what is revoked as signed, each empty if the asker has it; nodes that were heard of
    lately.  Whose own key is revoked gets that list and nothing else.
    """

    version: int
    policy: bytes
    directory: bytes
    seeds: Seeds
    revoked: bytes = b""


class AskLog(Document, frozen=True):
    """
    The public log from entry number C{start} on.
    """

    version: int
    door: Hash
    time: Number
    start: Annotated[int, Meta(ge=0, le=LENGTH_LIMIT)]


class Page(Document, frozen=True):
    """
    Entries as they are packed, all or as many as go into an answer; the signed head of the log up to there; and how
    many entries there are by now.
    """

    version: int
    head: Annotated[bytes, Meta(max_length=HEAD_LIMIT)]
    entries: Annotated[tuple[Annotated[bytes, Meta(max_length=ENTRY_LIMIT)], ...], Meta(max_length=PAGE_LIMIT)]
    length: Annotated[int, Meta(ge=0, le=LENGTH_LIMIT)]


class Renew(Document, frozen=True):
    """
    Certify the key that signs this, for as long as anew.
    """

    version: int
    door: Hash
    time: Number
    request: Certificate


class Renewed(Document, frozen=True):
    """
    The certificates.
    """

    version: int
    chain: Chain


class Question(Document, frozen=True):
    """
    C{body} from the holder of the key that C{chain} certifies.
    """

    version: int
    body: bytes
    chain: Chain
    signature: Annotated[bytes, Meta(max_length=256)]


class Entrust(Document, frozen=True):
    """
    From the person whose account it is: know the recovery code with the public key C{claim} from now on, and no other,
    and keep C{share} for whoever proves it (L{post.crypto.recovery}).
    """

    version: int
    door: Hash
    time: Number
    claim: PublicKey
    share: Hash


class Entrusted(Document, frozen=True):
    """
    That is done.
    """

    version: int


class Recover(Document, frozen=True):
    """
    Certify these keys, for the account whose code this is and for the node number C{index} of its owner, in the place
    of those that they have now.
    """

    version: int
    door: Hash
    node_request: Certificate
    user_request: Certificate
    index: Annotated[int, Meta(ge=0, lt=16)]
    addresses: Addresses


class Claimed(Document, frozen=True):
    """
    C{body} from the holder of a recovery code.
    """

    version: int
    claim: PublicKey
    body: bytes
    signature: Annotated[bytes, Meta(max_length=256)]


class Recovered(Document, frozen=True):
    """
    All that makes a member, and the share with which the sealed copy can be opened.
    """

    version: int
    address: Where
    node_chain: Chain
    user_chain: Chain
    membership: bytes
    seeds: Seeds
    share: Hash


class No(Document, frozen=True):
    """
    A refusal: one of L{post.wire.RefusalCode}, and a line for people.
    """

    version: int
    code: Annotated[int, Meta(ge=1, lt=256)]
    text: Annotated[str, Meta(max_length=500)]


def door_hash(certificate: bytes) -> bytes:
    """
    By which a question names the connection that it is for.
    """
    return tagged(Purpose.DOOR, certificate)


def keys_hash(join: Join) -> bytes:
    """
    Whose code it is, once it has been used.
    """
    return tagged(Purpose.JOIN_KEYS, join.node_request, join.user_request)


def prove(body: Document, name: bytes, key: bytes, purpose: Purpose) -> bytes:
    """
    The bytes of L{Proven}.
    """
    packed = pack(body)
    return pack(Proven(VERSION, name, packed, keyed(key, purpose, name, packed)))


_D = TypeVar(
    "_D",
    Greeting,
    Join,
    Welcome,
    Proven,
    AskNews,
    News,
    AskLog,
    Page,
    Renew,
    Renewed,
    Question,
    Entrust,
    Entrusted,
    Recover,
    Claimed,
    Recovered,
    No,
)


def read(kind: type[_D], data: bytes) -> _D:
    """
    @raise PeerError: if C{data} is none, or of another version.
    """
    found = unpack(kind, data)
    if found.version != VERSION:
        raise PeerError(f"a {kind.__name__} of version {found.version}")
    return found


def check_proven(proven: Proven, kind: type[_D], key: bytes, purpose: Purpose) -> _D:
    """
    @raise BadSignature: if whoever made C{proven} did not know the secret.
    @raise PeerError: if there is something else in it.
    """
    if not hmac.compare_digest(proven.proof, keyed(key, purpose, proven.name, proven.body)):
        raise BadSignature("not proven by the secret of the code")
    return read(kind, proven.body)


def sign_question(body: Document, key: SigningKey, chain: tuple[bytes, ...]) -> bytes:
    """
    The bytes of L{Question}.
    """
    packed = pack(body)
    return pack(Question(VERSION, packed, chain, key.sign(Purpose.SIGN_QUESTION, packed)))


def check_question(question: Question, kind: type[_D], public_key: bytes) -> _D:
    """
    @raise PeerError: if C{question} is not signed by C{public_key}, or another one.
    """
    verify(public_key, Purpose.SIGN_QUESTION, question.body, question.signature)
    return read(kind, question.body)


def sign_claim(body: Recover, key: LogKey) -> bytes:
    """
    The bytes of L{Claimed}.
    """
    packed = pack(body)
    return pack(Claimed(VERSION, key.public, packed, key.sign(Purpose.SIGN_RECOVERY, packed)))


def check_claim(claimed: Claimed) -> Recover:
    """
    @raise PeerError: if C{claimed} is not signed by the key that it names.
    """
    verify(claimed.claim, Purpose.SIGN_RECOVERY, claimed.body, claimed.signature)
    return read(Recover, claimed.body)
