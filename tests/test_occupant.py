"""
Tests for L{post.occupant}.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from post.occupant import NAME_LIMIT, occupant
from tests.scratch import scratch

LINE = "0: {where}:{port:04X} 00000000:0000 {state} 00000000:00000000 00:00000000 00000000 {uid} 0 {inode} 1 0 0\n"


class OccupantTests(SynchronousTestCase):
    """
    Tests of L{occupant}.
    """

    def setUp(self) -> None:
        self.proc = Path(scratch(self))
        (self.proc / "net").mkdir()
        self.listeners("tcp")

    def listeners(self, table: str, *lines: str) -> None:
        """
        Let the system show these sockets.
        """
        (self.proc / "net" / table).write_text("  sl  local_address rem_address   st …\n" + "".join(lines))

    def process(self, pid: int, name: str, *inodes: int) -> None:
        """
        Let there be a process.
        """
        descriptors = self.proc / str(pid) / "fd"
        descriptors.mkdir(parents=True)
        (descriptors.parent / "comm").write_text(f"{name}\n")
        for number, inode in enumerate(inodes):
            (descriptors / str(number)).symlink_to(f"socket:[{inode}]")

    @staticmethod
    def line(port: int, inode: int, state: str = "0A", uid: int = 0) -> str:
        """
        A socket as the system shows it.
        """
        return LINE.format(where="0100007F", port=port, state=state, uid=uid, inode=inode)

    def test_named(self) -> None:
        """
        A program is named with its process; what is connected from the port, or ends there, is none that listens.
        """
        self.process(12, "nginx", 7, 8)
        self.process(13, "curl", 9)
        self.listeners("tcp", self.line(25, 9, "01"), self.line(25, 8), self.line(26, 9))
        self.assertEqual(("nginx (process 12)", 12), occupant(25, self.proc))
        self.assertIsNone(occupant(27, self.proc))
        self.listeners("tcp6", self.line(27, 9))
        self.assertEqual(("curl (process 13)", 13), occupant(27, self.proc))

    def test_unnamed(self) -> None:
        """
        Of somebody else's program the user is said; of a user without a name the number.
        """
        self.listeners("tcp", self.line(25, 8))
        self.assertEqual(("a program of the user root", 0), occupant(25, self.proc))
        self.listeners("tcp", self.line(25, 8, uid=4_000_000_000))
        self.assertEqual(("a program of the user 4000000000", 0), occupant(25, self.proc))

    def test_strange(self) -> None:
        """
        A name is one short printable word; lines that are none, and a system that tells nothing, are borne.
        """
        self.process(12, "a\x1b[31m\x07" + "b" * 100, 8)
        self.listeners("tcp", "\n", "0: x\n", self.line(25, 8))
        found = occupant(25, self.proc)
        assert found is not None
        self.assertTrue(found.words.isprintable())
        self.assertLess(len(found.words), NAME_LIMIT + 20)
        self.assertIsNone(occupant(25, self.proc / "nothing"))

    def test_real(self) -> None:
        """
        Of this very process it is found out, where the system tells.
        """
        with socket.create_server(("127.0.0.1", 0)) as listener:
            found = occupant(listener.getsockname()[1])
        if Path("/proc/net/tcp").exists():
            assert found is not None
            self.assertEqual(os.getpid(), found.pid)
