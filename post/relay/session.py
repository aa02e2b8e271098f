"""
Frames between two nodes that must not believe the one who carries them.

Both sign an ephemeral X25519 key (SIGMA's idea: Krawczyk, CRYPTO 2003): the answer names the digest of the greeting, so
an old one cannot be played again.  Two keys follow from the secret that only they share and from both greetings, one
for each direction; AES-256-GCM seals each frame under its number, which never comes twice.  Who has carried all of it,
and later steals both nodes' keys, can still not read it.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from post.errors import BadSignature, PeerError
from post.hashes import Purpose, tagged
from post.ids import Contact, NodeId
from post.interfaces import Entropy
from post.relay.messages import Greeting, Hail, Sealed
from post.relay.proof import Proof
from post.wire import pack, unpack

VERSION = 1
WINDOW = 1024
"""Numbers below the highest one that may still come: frames of different priorities overtake one another."""


class Window:
    """
    Which numbers have come (pure): each counts once, and what is too old not at all (as RFC 4303, section 3.4.3).
    """

    __slots__ = ("_bits", "_highest")

    def __init__(self) -> None:
        self._highest = -1
        self._bits = 0  # Bit n: highest - n has come.

    def take(self, number: int) -> bool:
        """
        Whether C{number} comes for the first time, and not too late.
        """
        ahead = number - self._highest
        if ahead > 0:
            self._bits = ((self._bits << ahead) if ahead < WINDOW else 0) & ((1 << WINDOW) - 1) | 1
            self._highest = number
            return True
        if -ahead >= WINDOW or self._bits >> -ahead & 1:
            return False
        self._bits |= 1 << -ahead
        return True


class Session:
    """
    The keys that two nodes share.

    @ivar id: its name, 8 bytes.
    @ivar began_at: when it was agreed.
    """

    __slots__ = ("_number", "_ours", "_theirs", "_window", "began_at", "id")

    def __init__(self, secret: bytes, first: bytes, second: bytes, is_first: bool, now: float) -> None:
        """
        @param first: the digest of the greeting of who hailed; C{second}: of the answer.
        """
        keys = HKDF(SHA256(), 72, first + second, Purpose.RELAY_KEY.value).derive(secret)
        sent, answered = AESGCM(keys[:32]), AESGCM(keys[32:64])
        self.id = keys[64:]
        self.began_at = now
        self._ours, self._theirs = (sent, answered) if is_first else (answered, sent)
        self._number = 0
        self._window = Window()

    def seal(self, frame: bytes) -> Sealed:
        """
        C{frame}, for the other one.
        """
        number, self._number = self._number, self._number + 1
        return Sealed(self.id, number, self._ours.encrypt(number.to_bytes(12, "big"), frame, self.id))

    def open(self, sealed: Sealed) -> bytes | None:
        """
        The frame; C{None} if it has come before.

        @raise BadSignature: if it is not from the other one.
        """
        try:
            frame = self._theirs.decrypt(sealed.number.to_bytes(12, "big"), sealed.data, self.id)
        except InvalidTag:
            raise BadSignature("a relayed frame that was altered") from None
        # Only now: what is not authentic must not shut out what is.
        return frame if self._window.take(sealed.number) else None


class Hailing:
    """
    Our greeting to C{target}, or our answer to one, and the secret that goes with it.

    @ivar digest: of the greeting.
    """

    __slots__ = ("_secret", "digest", "message", "target")

    def __init__(self, proof: Proof, entropy: Entropy, local: Contact, target: NodeId, answers: bytes = b"") -> None:
        self.target = target
        self._secret = X25519PrivateKey.from_private_bytes(entropy(32))
        greeting = pack(Greeting(VERSION, local, target, self._secret.public_key().public_bytes_raw(), answers))
        self.digest = tagged(Purpose.RELAY_GREETING, greeting)
        self.message = Hail(greeting, proof.sign(greeting), proof.chain)

    def agree(self, other: Heard, is_first: bool, now: float) -> Session:
        """
        The session with who sent C{other}.

        @raise PeerError: if it chose its key so that there is no secret.
        """
        try:
            secret = self._secret.exchange(X25519PublicKey.from_public_bytes(other.greeting.public))
        except ValueError:
            raise PeerError("an ephemeral key of low order") from None
        first, second = (self.digest, other.digest) if is_first else (other.digest, self.digest)
        return Session(secret, first, second, is_first, now)


class Heard:
    """
    Somebody's greeting, verified.

    @ivar certificate: of who sent it.
    """

    __slots__ = ("certificate", "chain", "digest", "greeting")

    def __init__(self, proof: Proof, hail: Hail, origin: NodeId, local: NodeId) -> None:
        """
        @param origin: who it must be from.
        @raise PeerError: if it is not from C{origin} to us.
        """
        self.greeting = unpack(Greeting, hail.greeting)
        if self.greeting.version != VERSION:
            raise PeerError(f"a greeting of version {self.greeting.version}")
        if self.greeting.target != local or self.greeting.origin.id != origin:
            raise PeerError("a greeting of somebody else, or to somebody else")
        self.certificate = proof.verify(hail.chain, hail.greeting, hail.signature)
        if self.certificate.node_id != origin:
            raise PeerError(f"node {self.certificate.node_id} greets as {origin}")
        self.chain = hail.chain
        self.digest = tagged(Purpose.RELAY_GREETING, hail.greeting)
