"""
Real mail programs of Debian against a real ring.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.programs import need
from tests.system.rings import SECRETS, Ring, mail, place, wait_for

TIMEOUT_S = 120


class ProgramTests(SynchronousTestCase):
    """
    Tests with one ring each.
    """

    def setUp(self) -> None:
        self.scratch = Path(tempfile.mkdtemp(prefix="programs-"))
        self.addCleanup(shutil.rmtree, self.scratch)

    def run_program(self, *command: str, stdin: bytes = b"") -> str:
        """
        Run it to a good end; what it printed.
        """
        environment = {"HOME": str(self.scratch), "PATH": "/usr/bin:/bin", "TERM": "xterm", "LANG": "C.UTF-8"}
        done = subprocess.run(
            command, input=stdin, env=environment, cwd=self.scratch, timeout=TIMEOUT_S, capture_output=True
        )
        output = (done.stdout + done.stderr).decode(errors="replace")
        self.assertEqual(0, done.returncode, f"{command}\n{output}")
        return output

    def test_swaks(self) -> None:
        """
        swaks submits in clear with each mechanism, after STARTTLS, and over TLS from the start; a wrong password fails.
        """
        swaks = need("swaks")
        with Ring() as ring:
            node = ring.home_of("alice")
            base = ["--from", "alice@example.org", "--to", "bob@example.org", "--auth-user", "alice"]
            base += ["--auth-password", SECRETS["alice"]]
            ways: Sequence[tuple[str, list[str]]] = (
                ("plain", ["--server", node["submission"], "--auth", "PLAIN"]),
                ("login", ["--server", node["submission"], "--auth", "LOGIN"]),
                ("starttls", ["--server", node["submission"], "--auth", "PLAIN", "--tls"]),
                ("implicit", ["--server", node["submissions"], "--auth", "PLAIN", "--tls-on-connect"]),
            )
            for name, options in ways:
                output = self.run_program(swaks, *base, *options, "--header", f"Subject: by swaks {name}")
                self.assertRegex(output, r"<[-~]+?\s+250 2\.0\.0")
                wait_for(name, lambda name=name: ring.count("bob", f"by swaks {name}") == 1)  # type: ignore[misc]
            wrong = subprocess.run(
                [swaks, *base[:-1], "wrong", "--server", node["submission"]], capture_output=True, timeout=TIMEOUT_S
            )
            self.assertIn(b"535 5.7.8", wrong.stdout)

    def test_curl(self) -> None:
        """
        curl lists, reads and appends.
        """
        curl = need("curl")
        with Ring() as ring:
            ring.send("alice", "bob", mail("for curl", b"curl reads this\r\n"))
            wait_for("the mail", lambda: ring.count("bob", "for curl"))
            user, base = f"bob:{SECRETS['bob']}", f"imap://{ring.home_of('bob')['imap']}"
            self.assertIn("Archive", self.run_program(curl, "-s", "--user", user, f"{base}/"))
            listed = self.run_program(curl, "-s", "--user", user, f"{base}/INBOX", "-X", "SEARCH SUBJECT curl")
            number = listed.split()[-1]
            read = self.run_program(curl, "-s", "--user", user, f"{base}/INBOX;MAILINDEX={number}")
            self.assertIn("curl reads this", read)
            (self.scratch / "new.eml").write_bytes(mail("by curl"))
            self.run_program(curl, "-s", "--user", user, "-T", "new.eml", f"{base}/Drafts")
            self.assertEqual(1, ring.count("bob", "by curl", "Drafts"))

    def test_mbsync(self) -> None:
        """
        mbsync copies every folder to a Maildir, and brings flags and new messages back.
        """
        mbsync = need("mbsync")
        with Ring() as ring:
            for number in range(5):
                ring.send("alice", "bob", mail(f"sync {number}"))
            wait_for("the mail", lambda: ring.count("bob", "sync") == 5)
            host, port = place(ring.home_of("bob")["imap"])
            (self.scratch / "mail").mkdir()
            (self.scratch / ".mbsyncrc").write_text(
                f"IMAPAccount ring\nHost {host}\nPort {port}\nUser bob\nPass {SECRETS['bob']}\nSSLType None\n"
                "AuthMechs LOGIN\n\nIMAPStore far\nAccount ring\n\nMaildirStore near\nPath mail/\nInbox mail/Inbox\n"
                "SubFolders Verbatim\n\nChannel all\nFar :far:\nNear :near:\nPatterns *\nCreate Both\nExpunge Both\n"
                "SyncState *\n"
            )
            self.run_program(mbsync, "-a")
            got = sorted((self.scratch / "mail" / "Inbox").glob("*/*"))
            self.assertEqual(6, len([path for path in got if path.parent.name in ("cur", "new")]))
            self.assertTrue((self.scratch / "mail" / "Archive" / "cur").is_dir())
            one = next(path for path in got if path.parent.name == "new")
            seen = one.parent.parent / "cur" / (one.name.partition(":")[0] + ":2,FS")
            one.rename(seen)
            (self.scratch / "mail" / "Drafts" / "new" / "1.x.y").write_bytes(mail("written here"))
            self.run_program(mbsync, "-a")
            self.run_program(mbsync, "-a")
            self.assertEqual(1, ring.count("bob", "written here", "Drafts"))
            with ring.imap("bob") as client:
                self.assertEqual(1, len(client.search(None, "FLAGGED")[1][0].split()))

    def test_mutt(self) -> None:
        """
        mutt sends, and the copy that it files in Sent is the one that is there already.
        """
        mutt = need("mutt")
        with Ring() as ring:
            node = ring.home_of("alice")
            url = f"alice:{SECRETS['alice']}@"
            settings = [
                f"set folder=imap://{url}{node['imap']}/",
                f"set smtp_url=smtp://{url}{node['submission']}/",
                "set from=alice@example.org ssl_starttls=no ssl_force_tls=no spoolfile=+INBOX record=+Sent copy=yes",
            ]
            options = [argument for setting in settings for argument in ("-e", setting)]
            self.run_program(mutt, *options, "-s", "by mutt", "bob@example.org", stdin=b"written with mutt\n")
            wait_for("the mail", lambda: ring.count("bob", "by mutt") == 1)
            self.assertEqual(1, ring.count("alice", "by mutt", "Sent"))

    def receive(self, ring: Ring, *subjects: str) -> None:
        """
        Mail to bob, besides the welcome that is there; each has lines with dots.
        """
        for subject in subjects:
            ring.send("alice", "bob", mail(subject, b".\r\n..\r\n.x\r\nend\r\n"))
        for subject in subjects:
            wait_for(subject, lambda subject=subject: ring.count("bob", subject))  # type: ignore[misc]

    def test_curl_pop3(self) -> None:
        """
        curl lists and reads by POP3, in clear, after STLS and over TLS from the start; a wrong password fails.
        """
        curl = need("curl")
        with Ring() as ring:
            self.receive(ring, "for curl")
            node = ring.home_of("bob")
            trust = ["--cacert", str(ring.home(node["name"]) / "mail.pem")]
            port, secure_port = place(node["pop3"])[1], place(node["pop3s"])[1]
            ways: Sequence[tuple[str, list[str]]] = (
                (f"pop3://{node['pop3']}", []),
                (f"pop3://localhost:{port}", ["--ssl-reqd", *trust]),
                (f"pop3s://localhost:{secure_port}", trust),
            )
            for base, options in ways:
                user = ["-sS", "--user", f"bob:{SECRETS['bob']}", *options]
                self.assertRegex(self.run_program(curl, *user, f"{base}/"), r"\A1 \d+\r\n2 \d+\r\n\Z")
                self.assertIn("\r\n\r\n.\r\n..\r\n.x\r\nend\r\n", self.run_program(curl, *user, f"{base}/2"))
                self.assertRegex(self.run_program(curl, *user, f"{base}/", "-X", "UIDL"), r"\A1 [0-9a-f]{32}\r\n2 ")
            wrong = subprocess.run(
                [curl, "-sS", "--user", "bob:wrong", f"{ways[0][0]}/"], capture_output=True, timeout=TIMEOUT_S
            )
            self.assertEqual(67, wrong.returncode, wrong.stderr)  # curl: the log-in was denied.

    def test_getmail(self) -> None:
        """
        getmail fetches what it has not fetched before, over TLS with the certificate checked, and then deletes it.
        """
        getmail = need("getmail")
        with Ring() as ring:
            self.receive(ring, "one", "two")
            node = ring.home_of("bob")
            settings = (
                f"[retriever]\ntype = SimplePOP3SSLRetriever\nserver = localhost\nport = {place(node['pop3s'])[1]}\n"
                f"username = bob\npassword = {SECRETS['bob']}\nca_certs = {ring.home(node['name']) / 'mail.pem'}\n"
                "[destination]\ntype = MDA_external\npath = /usr/bin/tee\nallow_root_commands = true\n"
                f'arguments = ("-a", "{self.scratch / "got"}")\n'
                "[options]\nread_all = false\ndelivered_to = false\nreceived = false\ndelete = "
            )
            keeping, deleting = self.scratch / "keeping", self.scratch / "deleting"
            for file, delete in ((keeping, "false"), (deleting, "true")):
                file.write_text(settings + delete + "\n")
                file.chmod(0o600)
            run = (getmail, "--getmaildir", str(self.scratch), "--rcfile")
            self.assertIn("3 messages", self.run_program(*run, str(keeping)))
            self.receive(ring, "three")
            self.assertIn("1 messages", self.run_program(*run, str(keeping)))
            got = (self.scratch / "got").read_bytes()
            for subject in ("one", "two", "three"):
                self.assertEqual(1, got.count(b"\nSubject: %b\n" % subject.encode()))
            self.assertEqual(3, got.count(b"\n\n.\n..\n.x\nend\n"))
            self.run_program(*run, str(deleting))
            client = ring.pop3("bob")
            self.assertEqual((0, 0), client.stat())
            client.quit()

    def test_fetchmail(self) -> None:
        """
        fetchmail fetches in clear and keeps, fetches only what is new, and after STLS takes all away.
        """
        fetchmail = need("fetchmail")
        with Ring() as ring:
            self.receive(ring, "one")
            node = ring.home_of("bob")
            port, trust = place(node["pop3"])[1], ring.home(node["name"]) / "mail.pem"
            to = f"mda \"cat >> '{self.scratch / 'got'}'\""
            poll = f'poll localhost protocol POP3 service {port} uidl user bob password "{SECRETS["bob"]}" {to}'
            for name, options in (
                ("keeping", "keep sslproto ''"),
                ("taking", f'fetchall sslproto "tls1.2+" sslcertck sslcertfile "{trust}"'),
            ):
                (self.scratch / name).write_text(f"{poll} {options}\n")
                (self.scratch / name).chmod(0o600)
            self.assertIn("2 messages for bob", self.run_program(fetchmail, "-f", str(self.scratch / "keeping")))
            self.receive(ring, "two")
            said = self.run_program(fetchmail, "-f", str(self.scratch / "keeping"))
            self.assertIn("(2 seen)", said)
            got = (self.scratch / "got").read_bytes()
            self.assertEqual([1, 1], [got.count(b"\nSubject: %b\n" % each) for each in (b"one", b"two")])
            self.assertIn(b"\n\n.\n..\n.x\nend\n", got)
            self.run_program(fetchmail, "-f", str(self.scratch / "taking"))
            self.assertEqual([0, 0], [ring.count("bob", subject) for subject in ("one", "two")])
