"""
A Dovecot of its own, in a directory: the IMAP server that people come from.
"""

from __future__ import annotations

import datetime
import grp
import imaplib
import os
import pwd
import shutil
import ssl
import subprocess
import tempfile
from ipaddress import ip_address
from pathlib import Path
from types import TracebackType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.programs import need
from tests.system.ports import free_ports
from tests.system.rings import GRACE_S, wait_for

PASSWORD = "old-secret"


class Dovecot:
    """
    Runs in a C{with} statement; anybody with L{PASSWORD} is let in to the Maildir C{mail}, by TLS only.
    """

    def __init__(self) -> None:
        self._program = need("dovecot")
        self.directory = Path(tempfile.mkdtemp(prefix="dovecot-"))
        self.mail = self.directory / "mail"
        self.authority = self.directory / "cert.pem"
        (self.port,) = free_ports(1)
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Dovecot:
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(GRACE_S)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _start(self) -> None:
        # Dovecot serves nobody's mail as root.
        owner = pwd.getpwnam("nobody") if os.geteuid() == 0 else pwd.getpwuid(os.geteuid())
        self.directory.chmod(0o755)
        self.mail.mkdir(0o700)
        os.chown(self.mail, owner.pw_uid, owner.pw_gid)
        self._certify()
        config = self.directory / "dovecot.conf"
        unprivileged = (
            ""
            if os.geteuid() == 0
            else f"default_internal_user = {owner.pw_name}\ndefault_login_user = {owner.pw_name}\n"
            f"default_internal_group = {grp.getgrgid(owner.pw_gid).gr_name}\n"
            "service anvil {\n  chroot =\n}\nservice imap-login {\n  chroot =\n}\n"
        )
        config.write_text(
            f"protocols = imap\nbase_dir = {self.directory}/run\nstate_dir = {self.directory}/state\n"
            f"log_path = {self.directory}/log\nlisten = 127.0.0.1\nssl = required\nssl_cert = <{self.authority}\n"
            f"ssl_key = <{self.directory}/key.pem\nmail_location = maildir:{self.mail}\nfirst_valid_uid = 1\n"
            f"passdb {{\n  driver = static\n  args = password={PASSWORD}\n}}\n"
            f"userdb {{\n  driver = static\n  args = uid={owner.pw_uid} gid={owner.pw_gid} home={self.mail}\n}}\n"
            'namespace inbox {\n  inbox = yes\n  mailbox "Sent Items" {\n    special_use = \\Sent\n    auto = create\n'
            "  }\n}\n"
            f"service imap-login {{\n  inet_listener imap {{\n    port = 0\n  }}\n"
            f"  inet_listener imaps {{\n    port = {self.port}\n    ssl = yes\n  }}\n}}\n{unprivileged}"
        )
        log = self.directory / "log"
        self._process = subprocess.Popen(
            [self._program, "-F", "-c", config],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        process = self._process

        def serves() -> bool:
            if process.poll() is not None:
                raise AssertionError(f"dovecot ended: {log.read_text() if log.exists() else 'without a word'}")
            try:
                self.client().logout()
            except OSError:
                return False
            return True

        wait_for("dovecot", serves)

    def _certify(self) -> None:
        """
        A certificate that vouches for itself.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "old server")])
        now = datetime.datetime.now(datetime.UTC)
        names = x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1")), x509.DNSName("localhost")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=30))
            .add_extension(names, critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .sign(key, hashes.SHA256())
        )
        self.authority.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        form = serialization.PrivateFormat.PKCS8
        octets = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
        (self.directory / "key.pem").write_bytes(octets)

    def client(self) -> imaplib.IMAP4:
        """
        Logged in.
        """
        context = ssl.create_default_context(cafile=self.authority)
        client = imaplib.IMAP4_SSL("127.0.0.1", self.port, ssl_context=context, timeout=60)
        client.login("alice", PASSWORD)
        return client
