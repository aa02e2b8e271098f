"""
Moving in and out, with a real ring and what other programs have made.
"""

from __future__ import annotations

import imaplib
import os
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.moving.doubles import maildir
from tests.programs import need
from tests.system.dovecot import PASSWORD, Dovecot
from tests.system.rings import Ring

TIMEOUT_S = 180


Mail = dict[str, list[tuple[bytes, tuple[str, ...], str]]]


def mailbox(client: imaplib.IMAP4) -> Mail:
    """
    All that an IMAP server shows: by folder, octets, flags and date of each message, but for the ring's welcome.
    """
    found: Mail = {}
    for line in client.list()[1]:
        assert isinstance(line, bytes)
        if b"\\Noselect" in line:
            continue
        name = line.decode().rpartition(' "/" ' if b' "/" ' in line else ' "." ')[2].strip('"')
        if client.select(f'"{name}"', readonly=True)[1] == [b"0"]:
            continue
        answers = client.fetch("1:*", "(FLAGS INTERNALDATE BODY.PEEK[])")[1]
        for answer in answers:
            if isinstance(answer, tuple) and not answer[1].startswith(b"Authentication-Results:"):
                head = answer[0].decode()
                flags = re.search(r"FLAGS \(([^)]*)\)", head)
                date = re.search(r'INTERNALDATE "([^"]*)"', head)
                assert flags is not None and date is not None
                kept = tuple(sorted(flag for flag in flags[1].split() if flag not in ("\\Recent", "$Verified")))
                found.setdefault(name, []).append((answer[1], kept, date[1]))
    client.logout()
    return {name: sorted(messages) for name, messages in found.items()}


def system(flags: tuple[str, ...]) -> tuple[str, ...]:
    """
    Those that every program keeps.
    """
    return tuple(flag for flag in flags if flag.startswith("\\") or flag == "$Forwarded")


class MovingTests(SynchronousTestCase):
    """
    Tests with one ring each.
    """

    def setUp(self) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="moving-"))
        self.addCleanup(shutil.rmtree, self.scratch)

    def post(self, *arguments: str | Path, code: int = 0) -> str:
        """
        Run C{post} to the end C{code}; what it says.
        """
        command = [sys.executable, "-m", "post.cli", *map(str, arguments)]
        done = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S)
        said = (done.stdout + done.stderr).decode(errors="replace")
        self.assertEqual(code, done.returncode, said)
        return said

    def same(self, expected: Mail, found: Mail) -> None:
        """
        Compare mailboxes, without an attempt to show all differences.
        """
        self.assertEqual(sorted(expected), sorted(found))
        for name, messages in expected.items():
            self.assertEqual(
                [(len(text), *rest) for text, *rest in messages], [(len(text), *rest) for text, *rest in found[name]]
            )
            self.assertTrue(messages == found[name])

    def fill(self, client: imaplib.IMAP4) -> None:
        """
        Years of mail at another server.
        """
        client.create("Work.2026")
        client.create("Entw&APw-rfe")
        for number in range(30):
            folder = ("INBOX", '"Sent Items"', "Work.2026", "Entw&APw-rfe")[number % 4]
            flags = ("()", "(\\Seen)", "(\\Seen \\Answered $Label1)", "(\\Flagged Work $Forwarded)")[number // 4 % 4]
            text = b"From: bob@example.org\r\nSubject: old %d\r\n\r\n\xff %b\r\n" % (number, b"x" * 977 * number)
            date = f'"{number % 28 + 1:02}-Mar-2019 10:20:30 +0000"'
            self.assertEqual("OK", client.append(folder, flags, date, text)[0])
        client.logout()

    def synchronize(self, dovecot: Dovecot) -> None:
        """
        Let mbsync make a Maildir of it, with directories in directories.
        """
        (self.scratch / "mbsync").mkdir()
        config = self.scratch / "mbsyncrc"
        config.write_text(
            f"IMAPAccount old\nHost localhost\nPort {dovecot.port}\nUser alice\nPass {PASSWORD}\nSSLType IMAPS\n"
            f"CertificateFile {dovecot.authority}\n\nIMAPStore far\nAccount old\n\nMaildirStore near\n"
            f"Path {self.scratch}/mbsync/\nInbox {self.scratch}/mbsync/INBOX\nSubFolders Verbatim\n\n"
            "Channel all\nFar :far:\nNear :near:\nPatterns *\nCreate Near\nCopyArrivalDate yes\nSyncState *\n"
        )
        done = subprocess.run([need("mbsync"), "-c", config, "-a"], capture_output=True, timeout=TIMEOUT_S)
        self.assertEqual(0, done.returncode, done.stderr)

    def test_dovecot(self) -> None:
        """
        Another server's mail comes over IMAP, or as the Maildir that it keeps, the same to the octet, with folders,
        uses, flags, keywords and dates, and once; what is exported, that server shows as it was.
        """
        with Dovecot() as dovecot, Ring(4) as ring:
            self.fill(dovecot.client())
            before = mailbox(dovecot.client())
            self.assertEqual(30, sum(map(len, before.values())))
            secret = self.scratch / "password"
            secret.write_text(f"{PASSWORD}\n")
            alice, bob = (ring.home(ring.home_of(name)["name"]) for name in ("alice", "bob"))
            asked: tuple[str | Path, ...] = (
                "import",
                "imap",
                f"127.0.0.1:{dovecot.port}",
                "--user",
                "alice",
                "--password-file",
                secret,
            )
            said = self.post(*asked, "--config", alice, code=78)
            self.assertIn("certificate cannot be trusted", said)
            asked = (*asked, "--ca", dovecot.authority, "--config", alice)
            self.assertIn("30 messages", self.post(*asked))
            self.assertIn("0 messages (0.0 MB) came", self.post(*asked))
            expected = {name.replace(".", "/"): messages for name, messages in before.items()}
            expected["Sent"] = expected.pop("Sent Items")
            self.same(expected, mailbox(ring.imap("alice")))

            said = self.post("import", "maildir", dovecot.mail, "--config", bob)
            self.assertIn("30 messages", said)
            expected["Sent Items"] = expected.pop("Sent")
            self.same(expected, mailbox(ring.imap("bob")))

            self.synchronize(dovecot)
            self.post("import", "maildir", self.scratch / "mbsync", "--into", "Copy", "--config", alice)
            copied = mailbox(ring.imap("alice"))
            # mbsync keeps no other keywords, and adds a field of its own.
            synchronized = {
                f"Copy/{name}": [(text, system(flags), date) for text, flags, date in messages]
                for name, messages in expected.items()
            }
            found = {
                name: sorted((re.sub(rb"X-TUID: [^\n]*\n", b"", text), *rest) for text, *rest in messages)
                for name, messages in copied.items()
                if name.startswith("Copy/")
            }
            self.same(synchronized, found)  # type: ignore[arg-type]

            self.post("export", "maildir", self.scratch / "out", "--config", bob)
            shutil.rmtree(dovecot.mail)
            shutil.copytree(self.scratch / "out", dovecot.mail)
            owner = dovecot.directory.stat() if os.geteuid() else None
            for path in [dovecot.mail, *dovecot.mail.rglob("*")]:
                shutil.chown(path, *("nobody", "nogroup") if owner is None else (owner.st_uid, owner.st_gid))
            self.same(before, mailbox(dovecot.client()))

    def test_full_disk(self) -> None:
        """
        While the disk of the node is full, nothing more is filed, and the import ends with a line that says what to do;
        begun again when there is room, it brings everything once.
        """
        root = maildir(self.scratch / "in")
        for number in range(40):
            (root / "cur" / f"{number}.host").write_bytes(
                b"Subject: full %d\n\n" % number + os.urandom(9000).hex().encode()
            )
        with Ring(4) as ring:
            node = ring.home_of("alice")
            config = ring.home(node["name"])
            command = [sys.executable, "-m", "post.cli", "import", "maildir", str(root), "--config", str(config)]
            resource.prlimit(node["pid"], resource.RLIMIT_FSIZE, (64 * 1024, resource.RLIM_INFINITY))
            stuck = subprocess.run(command, capture_output=True, timeout=TIMEOUT_S)
            self.assertEqual(1, stuck.returncode, stuck.stderr)
            self.assertIn(b"see that the disk has room", stuck.stderr)
            self.assertIn(b"the same command goes on where this one ended", stuck.stderr)
            resource.prlimit(node["pid"], resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
            ring.stop_node(node["name"])
            ring.start_node(node["name"])
            self.post("import", "maildir", root, "--config", config)
            self.assertEqual(40, ring.count("alice", "full"))

    def test_maildir(self) -> None:
        """
        A Maildir comes in and goes out again the same; a file that is broken is named, and the exit code says so; what
        is imported is there when the node that took it has lost its disk.
        """
        root = maildir(self.scratch / "in", ".Work")
        for number in range(120):
            path = root / (".Work" if number % 3 else "") / "cur" / f"{number}.host:2,{'S' if number % 2 else ''}"
            path.write_bytes(b"Subject: imported %d\n\n\xff%b\n" % (number, b"x" * number * 50))
            os.utime(path, (1_000_000_000 + number, 1_000_000_000 + number))
        (root / "cur" / "broken").write_bytes(b"")
        with Ring(4) as ring:
            config = ring.home(ring.home_of("alice")["name"])
            said = self.post("import", "maildir", root, "--config", config, code=65)
            self.assertIn("120 messages", said)
            self.assertIn(f"{root}/cur/broken: is empty", said)
            self.assertIn("120 were there already", self.post("import", "maildir", root, "--config", config, code=65))
            with ring.imap("alice") as client:
                client.select("Work", readonly=True)
                (found,) = client.fetch("1", "(FLAGS INTERNALDATE)")[1]
                self.assertIn(b'FLAGS (\\Seen) INTERNALDATE "09-Sep-2001 01:46:41 +0000"', found)
            out = self.scratch / "out"
            self.post("export", "maildir", out, "--config", config, "--folder", "Work")
            self.assertEqual(
                sorted((path.read_bytes(), path.stat().st_mtime, path.name[-1]) for path in root.glob(".Work/cur/*")),
                sorted((path.read_bytes(), path.stat().st_mtime, path.name[-1]) for path in out.glob(".Work/cur/*")),
            )
            ring.stop_node("node1")
            self.assertIn("not running", self.post("export", "maildir", out, "--config", config, code=69).lower())
