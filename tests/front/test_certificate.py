"""
Tests for L{post.front.certificate}.
"""

from __future__ import annotations

from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from twisted.trial.unittest import SynchronousTestCase

from post.errors import ConfigError
from post.front.certificate import mail_certificate

NOW = 1_800_000_000


class CertificateTests(SynchronousTestCase):
    """
    Tests for L{mail_certificate}.
    """

    def setUp(self) -> None:
        self.directory = Path(self.mktemp())
        self.directory.mkdir()
        self.key, self.certificate = self.directory / "mail.key", self.directory / "mail.pem"

    def write_key(self, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, password: bytes | None = None) -> None:
        """
        Put a key in place.
        """
        encryption = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        self.key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)
        )
        self.key.chmod(0o600)

    def refused(self, file: Path) -> str:
        """
        Why the certificate cannot be used; the complaint names C{file}.
        """
        with self.assertRaises(ConfigError) as caught:
            mail_certificate(self.directory, NOW)
        self.assertEqual(str(file), caught.exception.where)
        return str(caught.exception.reason)

    def test_made(self) -> None:
        """
        It is made for this machine alone, is valid at once, and nobody else can read its key.
        """
        mail_certificate(self.directory, NOW)
        made = x509.load_pem_x509_certificate(self.certificate.read_bytes())
        names = made.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        self.assertEqual(["localhost"], names.get_values_for_type(x509.DNSName))
        self.assertEqual(["127.0.0.1", "::1"], [str(each) for each in names.get_values_for_type(x509.IPAddress)])
        self.assertLessEqual(made.not_valid_before_utc.timestamp(), NOW)
        self.assertEqual(0o600, self.key.stat().st_mode & 0o777)

    def test_kept(self) -> None:
        """
        It never changes by itself: a mail program that has been told to trust it would ask again.
        """
        mail_certificate(self.directory, NOW)
        before = self.key.read_bytes(), self.certificate.read_bytes()
        mail_certificate(self.directory, NOW + 86400 * 1000)
        self.assertEqual(before, (self.key.read_bytes(), self.certificate.read_bytes()))

    def test_crash(self) -> None:
        """
        A machine that stopped between the two files goes on from the key that it has.
        """
        mail_certificate(self.directory, NOW)
        key = self.key.read_bytes()
        self.certificate.unlink()
        mail_certificate(self.directory, NOW)
        self.assertEqual((key, True), (self.key.read_bytes(), self.certificate.exists()))

    def test_lost_key(self) -> None:
        """
        A certificate without its key is somebody's mistake, and is not replaced.
        """
        mail_certificate(self.directory, NOW)
        self.key.unlink()
        before = self.certificate.read_bytes()
        self.refused(self.key)
        self.assertEqual(before, self.certificate.read_bytes())

    def test_own(self) -> None:
        """
        An organisation's own certificate is used, with those behind it that lead to its authority.
        """
        mail_certificate(self.directory, NOW)
        self.certificate.write_bytes(self.certificate.read_bytes() * 2)
        options = mail_certificate(self.directory, NOW)
        self.assertEqual(1, len(options.extraCertChain))
        options.getContext()

    def test_bad_key(self) -> None:
        """
        A key that cannot be used is named: damaged, with a password, or readable by others.
        """
        mail_certificate(self.directory, NOW)
        self.key.write_bytes(b"nonsense")
        self.assertIn("cannot be used", self.refused(self.key))
        self.write_key(ec.generate_private_key(ec.SECP256R1()), b"password")
        self.assertIn("cannot be used", self.refused(self.key))
        self.key.chmod(0o644)
        self.assertIn("may be read by others", self.refused(self.key))

    def test_bad_certificate(self) -> None:
        """
        So is a certificate: damaged, or of another key.
        """
        mail_certificate(self.directory, NOW)
        self.write_key(ec.generate_private_key(ec.SECP256R1()))
        self.assertIn("is not of the key", self.refused(self.certificate))
        self.certificate.write_bytes(b"nonsense")
        self.assertIn("cannot be used", self.refused(self.certificate))
        self.certificate.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")
        self.assertIn("cannot be used", self.refused(self.certificate))

    def test_foreign_key(self) -> None:
        """
        For a key that is not one of ours no certificate is made up.
        """
        self.write_key(rsa.generate_private_key(65537, 1024))
        self.assertIn("is missing", self.refused(self.certificate))
