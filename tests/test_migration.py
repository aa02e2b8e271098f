"""
Tests for L{post.migration}, with a directory that an earlier program has written and used (C{tests/stored/node-1}).
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Mapping
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from post import __version__, migration
from post.config import load
from post.errors import ConfigError
from post.home import Home
from post.journal import SqliteJournal
from post.migration import CURRENT, migrate, read_version
from post.past.store import SqliteBlockStore
from tests.scratch import scratch

STORED = Path(__file__).parent / "stored" / "node-1"
THEN = 1_795_585_227
"""When it was used."""


class Cut(BaseException):
    """
    The machine stops.
    """


def rename(directory: Path) -> Mapping[str, bytes]:
    """
    A step as another one may be: two files change, and one comes.
    """
    return {
        "seeds": (directory / "seeds").read_bytes() + b"and one more\n",
        "accounts/alice@example.org/account": b"sealed",
        "fresh": b"new",
    }


class MigrationTests(SynchronousTestCase):
    """
    A copy of the stored directory.
    """

    def setUp(self) -> None:
        self.directory = scratch(self) / "node"
        self.restore()

    def restore(self) -> None:
        """
        The directory as it was stored; what is secret nobody else may read, which sources cannot keep.
        """
        shutil.rmtree(self.directory, ignore_errors=True)
        shutil.copytree(STORED, self.directory)
        for path in self.directory.rglob("*"):
            path.chmod(0o700 if path.is_dir() else 0o600)
        (self.directory / "policy").chmod(0o644)

    def files(self) -> dict[str, bytes]:
        """
        What is there.
        """
        paths = (path for path in self.directory.rglob("*") if path.is_file())
        return {str(path.relative_to(self.directory)): path.read_bytes() for path in paths}

    def test_stored(self) -> None:
        """
        What an earlier program has left can be used: keys, account, mailbox, blocks, settings.
        """
        home = Home(self.directory)
        self.assertIn("start the node", str(self.assertRaises(ConfigError, home.check)))
        home.open()
        self.addCleanup(home.unlock)
        self.assertEqual(f"POST node 2\nwritten by post {__version__}\n", (self.directory / "version").read_text())
        self.assertEqual(b"POST node 1\n", (self.directory / "before-2" / "version").read_bytes())
        home.check()
        root = home.credentials(THEN).root
        self.assertEqual("example.org", home.policy(root, THEN).domain)
        (account,) = home.accounts(root)
        self.assertEqual("alice@example.org", account.address)
        journal = SqliteJournal(home.journal(account.address), lambda call, *rest: call(*rest))
        self.addCleanup(journal.close)
        self.assertIsNotNone(journal.value("closed"))
        store = SqliteBlockStore(self.directory / "blocks.sqlite", lambda call, *rest: call(*rest))
        self.addCleanup(store.close)
        self.assertEqual("alice", load(self.directory / "node.toml").settings.name)

    def test_once(self) -> None:
        """
        What is up to date stays as it is.
        """
        self.assertEqual([1], migrate(self.directory))
        before = self.files()
        self.assertEqual([], migrate(self.directory))
        self.assertEqual(before, self.files())

    def test_step(self) -> None:
        """
        Files change, others stay, modes too; what they were is kept.
        """
        before = self.files()
        self.assertEqual([1], migrate(self.directory, {1: rename}))
        after = self.files()
        self.assertEqual(b"sealed", after["accounts/alice@example.org/account"])
        self.assertEqual((b"and one more\n", b"new"), (after["seeds"], after["fresh"]))
        account = "accounts/alice@example.org/account"
        self.assertEqual(before[account], after[f"before-2/{account}"])
        changed = {"seeds", account, "version", "fresh"}
        self.assertEqual(changed - {"fresh"}, {name[9:] for name in after if name.startswith("before-2/")})
        self.assertEqual({*before, "fresh"}, {name for name in after if not name.startswith("before-2/")})
        self.assertTrue(all(before[name] == after[name] for name in before.keys() - changed))
        self.assertEqual(0o600, stat.S_IMODE((self.directory / "fresh").stat().st_mode))

    def test_cut_short(self) -> None:
        """
        Wherever the machine stops, the directory is of the one version or the other when it is used again, and nothing
        of a step is there without the rest.
        """
        old = self.files()
        migrate(self.directory, {1: rename})
        new = self.files()
        seen = set()
        for moment in range(1, 40):
            self.restore()
            self.cut(moment)
            whole = {
                name: data
                for name, data in self.files().items()
                if not name.startswith(("before-2", ".migrating", ".migration.new"))
            }
            decided = "migration" in whole
            seen.add((read_version(self.directory), decided))
            if not decided and read_version(self.directory) == 1:
                self.assertEqual(old, whole)
            migrate(self.directory, {1: rename})
            self.assertEqual(new, self.files())
        self.assertEqual({(1, False), (1, True), (2, True), (2, False)}, seen)

    def cut(self, moment: int) -> None:
        """
        Migrate, until the machine stops at the C{moment}-th change of the disk.
        """
        left = [moment]

        def counting(path: Path, *rest: object) -> None:
            left[0] -= 1
            if not left[0]:
                raise Cut
            replace(path, *rest)  # type: ignore[arg-type]

        def removing(path: Path, missing_ok: bool = False) -> None:
            left[0] -= 1
            if not left[0]:
                raise Cut
            unlink(path, missing_ok)

        replace, unlink = Path.replace, Path.unlink
        self.patch(Path, "replace", counting)
        self.patch(Path, "unlink", removing)
        try:
            migrate(self.directory, {1: rename})
        except Cut:
            pass
        finally:
            self.patch(Path, "replace", replace)
            self.patch(Path, "unlink", unlink)

    def test_newer(self) -> None:
        """
        A newer one is refused with one line that says who wrote it, and nothing is changed.
        """
        (self.directory / "version").write_text(f"POST node {CURRENT + 1}\nwritten by post 9.1\n")
        before = self.files()
        error = str(self.assertRaises(ConfigError, Home(self.directory).open))
        self.assertIn(f"says version {CURRENT + 1}, written by post 9.1", error)
        self.assertEqual(before, self.files())

    def test_nonsense(self) -> None:
        """
        What is no version is said to be none.
        """
        for text in ("", "POST node 0\n", "POST node 2", "POST node 1\nand more\n", "\xff" * 50):
            (self.directory / "version").write_text(text, "latin-1")
            self.assertIn("is no version", str(self.assertRaises(ConfigError, migrate, self.directory)))

    def test_steps(self) -> None:
        """
        There is a step from each version to the next.
        """
        self.assertEqual(list(range(1, CURRENT)), sorted(migration.STEPS))

    def test_no_room(self) -> None:
        """
        Where nothing can be written, it stays as it is.
        """
        if os.geteuid() == 0:
            (self.directory / "before-2").write_text("a file in the way, for whom no mode is one")
        else:
            self.directory.chmod(0o500)
        before = self.files()
        self.assertRaises(OSError, migrate, self.directory)
        self.assertEqual(before, self.files())
        self.directory.chmod(0o700)
