"""
Tests for L{post.backup}, and for C{post backup} and C{post restore}.
"""

from __future__ import annotations

import io
import json
import os
import socket
import sqlite3
import tarfile
from collections.abc import Callable
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.backup import MANIFEST, read_backup, write_backup
from post.errors import ConfigError
from tests.scratch import scratch

NOW = 1_700_000_000


class BackupCase(SynchronousTestCase):
    """
    A directory as a node has it.
    """

    def setUp(self) -> None:
        self.scratch = scratch(self)
        self.directory = self.scratch / "node"
        account = self.directory / "accounts" / "a%2Fb@example.org"
        account.mkdir(parents=True)
        for path, data in (
            (self.directory / "node.key", b"secret"),
            (self.directory / "version", b"POST node 1\n"),
            (account / "account", bytes(range(256)) * 10),
        ):
            path.write_bytes(data)
            path.chmod(0o600)
        (self.directory / "version").chmod(0o644)
        self.blocks = self.database(self.directory / "blocks.sqlite", 50)
        self.journal = self.database(account / "journal.sqlite", 5)
        self.target = self.scratch / "backup.tar"

    def database(self, path: Path, rows: int) -> sqlite3.Connection:
        """
        One that a node has open, with rows that are in its WAL only.
        """
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("CREATE TABLE rows(number INTEGER, data BLOB)")
        connection.executemany("INSERT INTO rows VALUES(?, ?)", [(number, b"x" * 1000) for number in range(rows)])
        self.addCleanup(connection.close)
        return connection

    def restored(self) -> Path:
        """
        What comes out of the backup.
        """
        directory = self.scratch / "again"
        self.assertEqual(NOW, read_backup(self.target, directory))
        return directory


class WriteBackupTests(BackupCase):
    """
    Tests for L{write_backup} and L{read_backup}.
    """

    def test_round_trip(self) -> None:
        """
        Everything that matters is there again, with its mode, also what a database has not moved out of its WAL; and
        nothing else.
        """
        (self.directory / "lock").touch()
        (self.directory / "node.log").write_text("noise")
        (self.directory / ".node.chain.new").write_text("half")
        listener = socket.socket(socket.AF_UNIX)
        self.addCleanup(listener.close)
        listener.bind(str(self.directory / "control"))
        size = write_backup(self.directory, self.target, NOW)
        self.assertEqual((size, 0o600), (self.target.stat().st_size, self.target.stat().st_mode & 0o777))
        again = self.restored()
        names = {path.relative_to(again).as_posix() for path in again.rglob("*") if path.is_file()}
        small = {"node.key", "version", "accounts/a%2Fb@example.org/account"}
        self.assertEqual(small | {"blocks.sqlite", "accounts/a%2Fb@example.org/journal.sqlite"}, names)
        for name in small:
            before, after = self.directory / name, again / name
            self.assertEqual(before.read_bytes(), after.read_bytes())
            self.assertEqual(before.stat().st_mode, after.stat().st_mode)
        copy = sqlite3.connect(again / "blocks.sqlite")
        self.addCleanup(copy.close)
        self.assertEqual((50,), copy.execute("SELECT count(*) FROM rows").fetchone())
        self.assertEqual(0o700, again.stat().st_mode & 0o777)
        left = {path.name for path in self.scratch.iterdir()}
        self.assertEqual({"node", "again", "backup.tar"}, left)

    def test_waited_for(self) -> None:
        """
        Whoever has put a file where the backup is going to be written reads nothing of it.
        """
        other = self.scratch / ".backup.tar.new"
        other.touch(0o666)
        with other.open("rb") as waiting:
            write_backup(self.directory, self.target, NOW)
            self.assertEqual(b"", waiting.read())
        self.assertEqual(0o600, self.target.stat().st_mode & 0o777)

    def test_writing(self) -> None:
        """
        A database is as it was at one moment, though somebody has a transaction open.
        """
        self.blocks.execute("BEGIN IMMEDIATE")
        self.blocks.execute("DELETE FROM rows")
        write_backup(self.directory, self.target, NOW)
        self.blocks.execute("COMMIT")
        copy = sqlite3.connect(self.restored() / "blocks.sqlite")
        self.addCleanup(copy.close)
        self.assertEqual((50,), copy.execute("SELECT count(*) FROM rows").fetchone())

    def test_without_blocks(self) -> None:
        """
        What the node keeps for others can be left out.
        """
        write_backup(self.directory, self.target, NOW, blocks=False)
        again = self.restored()
        self.assertFalse((again / "blocks.sqlite").exists())
        self.assertTrue((again / "accounts" / "a%2Fb@example.org" / "journal.sqlite").exists())

    def test_changing(self) -> None:
        """
        Small files belong together: while one changes they are read again, and if that does not end, it is said.
        """
        key = self.directory / "node.key"
        changes = [b"second", b"third"]

        def reading(path: Path) -> bytes:
            data = path.read_bytes()
            if path.name == "version" and changes:
                replace(key, changes.pop())
            return data

        write_backup(self.directory, self.target, NOW, read=reading)
        self.assertEqual(b"second", (self.restored() / "node.key").read_bytes())
        self.target.unlink()
        changes = [b"more"] * 100
        error = self.assertRaises(ConfigError, write_backup, self.directory, self.target, NOW, read=reading)
        self.assertIn("changes all the time", str(error))
        self.assertEqual({"node", "again"}, {path.name for path in self.scratch.iterdir()})

    def test_refused(self) -> None:
        """
        Nothing is written over: neither a file by a backup, nor a directory by what is restored.
        """
        self.target.write_bytes(b"precious")
        self.assertRaises(ConfigError, write_backup, self.directory, self.target, NOW)
        self.assertEqual(b"precious", self.target.read_bytes())
        self.target.unlink()
        write_backup(self.directory, self.target, NOW)
        error = self.assertRaises(ConfigError, read_backup, self.target, self.directory)
        self.assertIn("is not empty", str(error))
        (self.scratch / "file").touch()
        self.assertRaises(ConfigError, read_backup, self.target, self.scratch / "file")
        (self.scratch / "empty").mkdir()
        read_backup(self.target, self.scratch / "empty")
        self.assertTrue((self.scratch / "empty" / "version").exists())


class DamagedTests(BackupCase):
    """
    Tests of backups that are none, or not any more.
    """

    def refusal(self, data: bytes) -> str:
        """
        What is said of them; nothing is there afterwards.
        """
        self.target.write_bytes(data)
        error = self.assertRaises(ConfigError, read_backup, self.target, self.scratch / "again")
        self.assertEqual([], [path.name for path in self.scratch.iterdir() if "again" in path.name])
        return str(error)

    def altered(self, change: Callable[[dict[str, bytes]], object]) -> bytes:
        """
        A backup in which something is else.
        """
        self.target.unlink(missing_ok=True)
        write_backup(self.directory, self.target, NOW)
        with tarfile.open(self.target) as tar:
            files = {info.name: tar.extractfile(info).read() for info in tar}  # type: ignore[union-attr]
        self.target.unlink()
        change(files)
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            for name, data in files.items():
                info = tarfile.TarInfo(name)
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        return out.getvalue()

    def test_altered(self) -> None:
        """
        Another content, a file too few or too many, or without the manifest: refused.
        """
        self.assertIn("is not what was saved", self.refusal(self.altered(lambda files: files.update(version=b"x"))))
        self.assertIn("is missing", self.refusal(self.altered(lambda files: files.pop("version"))))
        self.assertIn("no manifest", self.refusal(self.altered(lambda files: files.pop(MANIFEST))))
        self.assertIn("more in it", self.refusal(self.altered(lambda files: files.update(more=b"x"))))

    def test_newer(self) -> None:
        """
        One of a newer version is told from one that is damaged.
        """

        def newer(files: dict[str, bytes]) -> None:
            files[MANIFEST] = json.dumps({"version": 2}).encode()

        self.assertIn("of version 2", self.refusal(self.altered(newer)))
        self.assertIn("damaged", self.refusal(self.altered(lambda files: files.update({MANIFEST: b"{"}))))

    def test_outside(self) -> None:
        """
        No file lands elsewhere than in the directory, and none is a link.
        """
        for name in ("../evil", "/tmp/evil", "accounts/../../evil"):
            out = io.BytesIO()
            with tarfile.open(fileobj=out, mode="w") as tar:
                tar.addfile(tarfile.TarInfo(name), io.BytesIO())
            self.assertIn("which no backup has", self.refusal(out.getvalue()))
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w") as tar:
            link = tarfile.TarInfo("node.key")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
            tar.addfile(link)
        self.assertIn("which no backup has", self.refusal(out.getvalue()))

    def test_cut(self) -> None:
        """
        Where a copy of it ended early, nothing is made of it.
        """
        write_backup(self.directory, self.target, NOW)
        whole = self.target.read_bytes()
        for size in (0, 100, 512, 5000, len(whole) // 2, len(whole) - 12_000):
            self.refusal(whole[:size])

    @given(st.binary(max_size=2000))
    def test_garbage(self, data: bytes) -> None:
        """
        Anything else is no backup.
        """
        self.refusal(data)


def replace(path: Path, data: bytes) -> None:
    """
    As a node replaces a file.
    """
    fresh = path.with_name(".fresh")
    fresh.write_bytes(data)
    os.replace(fresh, path)
