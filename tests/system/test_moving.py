"""
Moving in and out, with a real ring and what other programs have made.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.moving.doubles import maildir
from tests.system.rings import Ring

TIMEOUT_S = 180


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
