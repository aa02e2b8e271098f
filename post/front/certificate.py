"""
The certificate that mail programs see: made once, for this machine only, and never changed silently.
"""

from __future__ import annotations

import datetime
import ipaddress
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from twisted.internet.ssl import CertificateOptions, TLSVersion

from post.crypto.entropy import system_entropy
from post.crypto.keys import SigningKey
from post.errors import ConfigError
from post.files import read_file, read_secret, write_file, write_secret

LIFE = datetime.timedelta(days=10 * 365)
"""Long, because a mail program that has been told to trust it asks again when it changes."""


def mail_certificate(directory: Path, now: int) -> CertificateOptions:
    """
    TLS for mail programs, with C{mail.key} and C{mail.pem} in C{directory}; what is missing of them is made.

    C{mail.pem} may be another's, with the certificates that lead to its authority behind it.

    @raise ConfigError: if they cannot be used.
    """
    key_file, certificate_file = directory / "mail.key", directory / "mail.pem"
    if not key_file.exists() and not certificate_file.exists():
        # The key first: a key without a certificate is what a crash may leave, and is enough to go on from.
        write_secret(key_file, SigningKey.generate(system_entropy).to_pem())
    if not certificate_file.exists():
        key = _load_key(key_file)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ConfigError(str(certificate_file), f"is missing, and {key_file.name} is not one of ours")
        write_file(certificate_file, _make(key, now).public_bytes(serialization.Encoding.PEM))
    return load_certificate(key_file, certificate_file)


def load_certificate(key_file: Path, certificate_file: Path) -> CertificateOptions:
    """
    TLS with this key, and this certificate with those that lead to its authority behind it (both PEM).

    @raise ConfigError: if they cannot be used.
    """
    key = _load_key(key_file)
    try:
        certificate, *above = x509.load_pem_x509_certificates(read_file(certificate_file))
        public = certificate.public_key()
    except (ValueError, UnsupportedAlgorithm) as error:
        raise ConfigError(str(certificate_file), f"cannot be used: {error}") from None
    if public != key.public_key():
        raise ConfigError(str(certificate_file), f"is not of the key in {key_file.name}")
    # Twisted takes objects of cryptography, and pyOpenSSL deprecates its own; only the annotations lag behind.
    return CertificateOptions(
        privateKey=key,  # type: ignore[arg-type]
        certificate=certificate,  # type: ignore[arg-type]
        extraCertChain=above,  # type: ignore[arg-type]
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )


def certificate_end(directory: Path) -> int:
    """
    When what mail programs see ends, unix seconds.

    @raise ConfigError: if it cannot be read.
    """
    file = directory / "mail.pem"
    try:
        return int(x509.load_pem_x509_certificates(read_file(file))[0].not_valid_after_utc.timestamp())
    except ValueError as error:
        raise ConfigError(str(file), f"cannot be used: {error}") from None


def _load_key(key_file: Path) -> PrivateKeyTypes:
    try:
        return serialization.load_pem_private_key(read_secret(key_file), None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(str(key_file), f"cannot be used: {error}") from None


def _make(key: ec.EllipticCurvePrivateKey, now: int) -> x509.Certificate:
    start = datetime.datetime.fromtimestamp(now, datetime.UTC) - datetime.timedelta(hours=1)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "POST on this machine")])
    names = [
        x509.DNSName("localhost"),
        x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
        x509.IPAddress(ipaddress.ip_address("::1")),
    ]
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(int.from_bytes(system_entropy(16), "big") | 1)
        .not_valid_before(start)
        .not_valid_after(start + LIFE)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
