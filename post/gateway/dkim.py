"""
Signing what leaves (DKIM, RFC 6376).

Each gateway has keys of its own, each under a selector of its own in the domain's DNS: so no secret leaves the machine
that made it, and whichever gateway a message leaves by can sign it.  Canonicalization is dkimpy's; the signature is
made by C{cryptography}, whose RSA is forty times as fast.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import dkim
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from dkim.canonicalization import CanonicalizationPolicy

from post.errors import ConfigError
from post.files import make_directory, read_secret, write_secret
from post.ids import NodeId

DIRECTORY = "dkim"
"""In a node's directory; a key is C{SELECTOR.pem}."""
RSA_BITS = 2048
"""Longer ones do not fit into an answer of DNS over UDP, and everybody verifies these (RFC 8301)."""
STRING = 255
"""Octets of one string of a TXT record; a longer text is several of them."""
KEYS_LIMIT = 4
"""Signatures on a message: one of each kind, and twice as many while keys are replaced."""
RELAXED = b"relaxed/relaxed"

SIGNED = (
    *("from", "from", "sender", "reply-to", "to", "cc", "subject", "subject", "date", "message-id", "in-reply-to"),
    *("references", "mime-version", "content-type", "content-transfer-encoding", "content-disposition"),
    *("list-id", "list-unsubscribe", "list-unsubscribe-post"),
)
"""Header fields.  From and Subject once more than there are, so that nobody can add another one (RFC 6376, 8.15)."""

_SELECTOR = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

PrivateKey = rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey


@dataclass(frozen=True)
class Key:
    """
    A key that signs for a domain.
    """

    selector: str
    private: PrivateKey

    @property
    def algorithm(self) -> str:
        """
        As DKIM names it.
        """
        return "rsa-sha256" if isinstance(self.private, rsa.RSAPrivateKey) else "ed25519-sha256"

    def record(self, domain: str) -> tuple[str, str]:
        """
        Name and text of the TXT record that publishes it.
        """
        public = self.private.public_key()
        if isinstance(public, rsa.RSAPublicKey):
            kind = "rsa"
            octets = public.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        else:
            kind, octets = "ed25519", public.public_bytes_raw()
        return f"{self.selector}._domainkey.{domain}", f"v=DKIM1; k={kind}; p={base64.b64encode(octets).decode()}"

    def zone_line(self, domain: str) -> str:
        """
        The same as a line of a zone file.
        """
        name, text = self.record(domain)
        strings = " ".join(f'"{text[at : at + STRING]}"' for at in range(0, len(text), STRING))
        return f"{name}. IN TXT ( {strings} )"

    def is_in(self, texts: list[bytes]) -> bool:
        """
        Whether one of the TXT records under its name publishes it.
        """
        ours = self.record("x")[1].rpartition("p=")[2]
        return any(_published(text) == ours for text in texts)

    def sign(self, digested: bytes) -> bytes:
        """
        The signature over the canonical header C{digested}.
        """
        if isinstance(self.private, rsa.RSAPrivateKey):
            return self.private.sign(digested, padding.PKCS1v15(), hashes.SHA256())
        # RFC 8463, 3: what Ed25519 signs is the hash.
        return self.private.sign(sha256(digested).digest())


def _published(text: bytes) -> str:
    tags = dict(tag.partition("=")[::2] for tag in text.decode("ascii", "replace").split(";"))
    return "".join({key.strip(): value for key, value in tags.items()}.get("p", "").split())


def is_key(text: bytes) -> bool:
    """
    Whether a TXT record publishes a key that has not been revoked (RFC 6376, 3.6.1).
    """
    return bool(_published(text))


def selector_of(node: NodeId) -> str:
    """
    The selector of a gateway's key, if nobody has chosen another.
    """
    return f"post-{node.hex()[:8]}"


def check_selector(selector: str) -> None:
    """
    @raise ConfigError: if C{selector} cannot be a label of DNS.
    """
    if not _SELECTOR.fullmatch(selector):
        raise ConfigError(f"--selector {selector}", "must be of small letters, digits and '-', 63 at most")


def make_key(directory: Path, selector: str, kind: str) -> Key:
    """
    The key C{selector} of a node; made, as C{kind} (C{rsa}, C{ed25519}), if it is not there.

    @raise ConfigError: if it cannot be used.
    """
    check_selector(selector)
    folder = directory / DIRECTORY
    file = folder / f"{selector}.pem"
    if not file.exists():
        if len(list(folder.glob("*.pem"))) >= KEYS_LIMIT:
            raise ConfigError(str(folder), f"has {KEYS_LIMIT} keys already: remove one that is not in use any longer")
        private = _generate(kind)
        make_directory(folder)
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_secret(file, pem)
    return _read(file)


def _generate(kind: str) -> PrivateKey:
    return rsa.generate_private_key(65537, RSA_BITS) if kind == "rsa" else ed25519.Ed25519PrivateKey.generate()


def read_keys(directory: Path) -> list[Key]:
    """
    All keys of a node, by selector.

    @raise ConfigError: if one cannot be used.
    """
    files = sorted((directory / DIRECTORY).glob("*.pem"))
    if len(files) > KEYS_LIMIT:
        raise ConfigError(str(directory / DIRECTORY), f"has more than {KEYS_LIMIT} keys")
    return [_read(file) for file in files]


def _read(file: Path) -> Key:
    check_selector(file.stem)
    try:
        private = serialization.load_pem_private_key(read_secret(file), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(str(file), f"cannot be used: {error}") from None
    if not isinstance(private, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        raise ConfigError(str(file), "is neither an RSA nor an Ed25519 key")
    if isinstance(private, rsa.RSAPrivateKey) and private.key_size < 1024:
        raise ConfigError(str(file), "is too short to be believed")
    return Key(file.stem, private)


def sign(message: bytes, keys: list[Key], domain: str, now: int) -> bytes:
    """
    The signature fields, with CRLF, to be put in front of C{message}; takes time in proportion to its length.

    @raise ValueError: if C{message} has no header.
    """
    try:
        header, _, body = message.partition(b"\r\n\r\n")
        fields, _ = dkim.rfc822_parse(header + b"\r\n")
    except (dkim.MessageFormatError, IndexError) as error:
        raise ValueError(f"no header: {error}") from None
    policy = CanonicalizationPolicy.from_c_value(RELAXED)
    body_hash = base64.b64encode(sha256(policy.canonicalize_body(body)).digest()).decode()
    canonical = policy.canonicalize_headers(fields)
    present = [name.strip().lower().decode("latin-1") for name, _ in fields]
    names = [name for name in SIGNED if name in ("from", "subject") or name in present]
    signed = dkim.select_headers(canonical, [name.encode() for name in names])
    return b"".join(_field(key, signed, names, body_hash, domain, now, policy) for key in keys)


def _field(
    key: Key,
    signed: list[tuple[bytes, bytes]],
    names: list[str],
    body_hash: str,
    domain: str,
    now: int,
    policy: CanonicalizationPolicy,
) -> bytes:
    tags = [
        f"v=1; a={key.algorithm}; c={RELAXED.decode()};",
        f"d={domain}; s={key.selector}; t={now};",
        *_folded(names),
        f"bh={body_hash};",
        "b=",
    ]
    value = "\r\n\t".join(tags).encode()
    # The field itself, with an empty signature, comes last and without its CRLF (RFC 6376, 3.7).
    [(name, own)] = policy.canonicalize_headers([(b"DKIM-Signature", b" " + value + b"\r\n")])
    digested = b"".join(name + b":" + value for name, value in signed) + name + b":" + own.removesuffix(b"\r\n")
    signature = base64.b64encode(key.sign(digested)).decode()
    lines = "\r\n\t ".join(signature[at : at + 70] for at in range(0, len(signature), 70))
    return b"DKIM-Signature: " + value + lines.encode() + b"\r\n"


def _folded(names: list[str]) -> list[str]:
    lines = [""]
    for name in names:
        if len(lines[-1]) > 60:
            lines.append("")
        lines[-1] += f"{name}:"
    lines[0] = f"h={lines[0]}"
    lines[-1] = lines[-1].removesuffix(":") + ";"
    return lines
