"""
Tests for L{post.files}.
"""

from __future__ import annotations

import os
import stat

from twisted.trial.unittest import SynchronousTestCase

from post.errors import ConfigError
from post.files import lock, make_directory, read_file, read_secret, write_file, write_secret
from tests.scratch import scratch


class FileTests(SynchronousTestCase):
    """
    Tests of what is written and read.
    """

    def setUp(self) -> None:
        self.directory = scratch(self)

    def test_write(self) -> None:
        """
        A file is replaced whole, its directories are made, and nothing else is left.
        """
        path = self.directory / "a" / "b" / "file"
        for data in (b"one", b"", b"x" * 100_000):
            write_file(path, data)
            self.assertEqual((data, 0o644), (read_file(path), stat.S_IMODE(path.stat().st_mode)))
        self.assertEqual([path], list(path.parent.iterdir()))

    def test_secret(self) -> None:
        """
        A secret is its owner's alone, whatever an earlier attempt left and whatever the umask says.
        """
        path = self.directory / "secret"
        left = self.directory / ".secret.new"
        left.write_bytes(b"left behind")
        left.chmod(0o666)
        self.addCleanup(os.umask, os.umask(0))
        write_secret(path, b"secret")
        self.assertEqual((b"secret", 0o600), (read_secret(path), stat.S_IMODE(path.stat().st_mode)))

    def test_kept(self) -> None:
        """
        If the new one cannot be written, the old one is as it was.
        """
        path = self.directory / "file"
        write_file(path, b"old")
        (self.directory / ".file.new").mkdir()
        self.assertRaises(OSError, write_file, path, b"new")
        self.assertEqual(b"old", read_file(path))

    def test_readable_by_others(self) -> None:
        """
        A secret that others could have read is not used.
        """
        path = self.directory / "secret"
        write_secret(path, b"secret")
        for mode in (0o640, 0o604, 0o620):
            path.chmod(mode)
            self.assertIn("chmod 600", str(self.assertRaises(ConfigError, read_secret, path)))

    def test_unreadable(self) -> None:
        """
        What is not there, or no file, is said so with its name.
        """
        for path in (self.directory / "none", self.directory):
            for read in (read_file, read_secret):
                self.assertEqual(str(path), self.assertRaises(ConfigError, read, path).where)

    def test_make_directory(self) -> None:
        """
        A directory that exists stays as it is; a file in its place is an error.
        """
        make_directory(self.directory / "a" / "b", 0o700)
        self.assertEqual(0o700, stat.S_IMODE((self.directory / "a" / "b").stat().st_mode))
        make_directory(self.directory / "a" / "b")
        self.assertEqual(0o700, stat.S_IMODE((self.directory / "a" / "b").stat().st_mode))
        write_file(self.directory / "file", b"")
        self.assertRaises(OSError, make_directory, self.directory / "file" / "x")


class LockTests(SynchronousTestCase):
    """
    Tests of L{lock}.
    """

    def test_lock(self) -> None:
        """
        One at a time; whoever comes after the first has ended gets it, and children do not inherit it.
        """
        path = scratch(self) / "lock"
        held = lock(path)
        self.assertFalse(os.get_inheritable(held))
        refused = self.assertRaises(ConfigError, lock, path)
        self.assertEqual((str(path.parent), "is in use by another process"), (refused.where, refused.reason))
        os.close(held)
        os.close(lock(path))

    def test_cannot(self) -> None:
        """
        A lock that cannot be made is an error, not a lock.
        """
        directory = scratch(self)
        self.assertRaises(ConfigError, lock, directory)
        self.assertRaises(ConfigError, lock, directory / "none" / "lock")
