"""
What a block store keeps when its process is killed or its disk fails: real processes on a real disk.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from random import Random

from twisted.trial.unittest import SynchronousTestCase

from post.ids import RING
from post.past.store import SqliteBlockStore
from tests.past.calls import PATIENCE_S, Calls
from tests.past.writer import AT_ONCE, block
from tests.programs import need

ROOT = Path(__file__).parent.parent.parent
SEED = 2003
DEATHS = 5


class WriterCase(SynchronousTestCase):
    """
    A store that a process of its own writes to.
    """

    def setUp(self) -> None:
        self.path = Path(self.mktemp()).absolute()

    def start(self, count: int, at_once: int = AT_ONCE, *before: str) -> subprocess.Popen[bytes]:
        """
        Let a process put so many blocks; C{before} is what the command begins with.
        """
        command = [*before, sys.executable, "-m", "tests.past.writer", str(self.path), str(count), str(at_once)]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(self.end, process)
        return process

    def end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.communicate()

    def check(self, lines: list[str]) -> int:
        """
        Whatever was acknowledged in C{lines} is in the store, or something newer in its place, and what is there is
        whole; returns how many were acknowledged.
        """
        calls = Calls()
        store = SqliteBlockStore(self.path, calls)
        kept = [int(line.split()[1]) for line in lines if line.startswith("kept ")]
        for number in kept:
            expected = block(number)
            found = store.get(expected.handle)
            self.assertIsNot(None, found, number)
            assert found is not None
            self.assertGreaterEqual(found.order, number)
            self.assertEqual(block(found.order), found)
        for holding in store.scan(0, RING):
            self.assertIsNot(None, store.get(holding.handle))
        calls.result(store.close())
        return len(kept)


class KillTests(WriterCase):
    """
    A process that is killed under load.
    """

    def test_killed(self) -> None:
        """
        At whatever instant the process is killed, nothing that it acknowledged is lost, and the store opens again.
        """
        random = Random(SEED)
        for _ in range(DEATHS):
            process = self.start(1_000_000)
            assert process.stdout is not None
            lines = [process.stdout.readline().decode() for _ in range(random.randrange(50, 1500))]
            process.kill()
            rest, errors = process.communicate(timeout=PATIENCE_S)
            lines += rest.decode().splitlines(True)
            whole = [line.strip() for line in lines if line.endswith("\n")]
            self.assertGreater(self.check(whole), 0, errors)


class TraceTests(WriterCase):
    """
    A process whose calls of the system are watched, and made to fail.
    """

    def run_traced(self, count: int, at_once: int, *options: str) -> tuple[list[str], list[str]]:
        """
        What the process said, and what strace saw.
        """
        log = Path(self.mktemp()).absolute()
        strace = (need("strace"), "-f", "-o", str(log), "-s", "100", *options)
        out, errors = self.start(count, at_once, *strace).communicate(timeout=4 * PATIENCE_S)
        lines = out.decode().splitlines()
        self.assertEqual("end", lines[-1] if lines else errors.decode())
        return lines, log.read_text().splitlines()

    def test_flushed_before_acknowledged(self) -> None:
        """
        Between the moment a block is handed over and its acknowledgement, the disk was told to flush, and said that it
        had.
        """
        for at_once in (1, AT_ONCE):
            _, trace = self.run_traced(60, at_once, "-e", "trace=fdatasync,fsync,write")
            flushes = 0
            before: dict[str, int] = {}
            kept = 0
            for line in trace:
                if re.search(r"(fdatasync|fsync)(\(|.*resumed).*= 0$", line):
                    flushes += 1
                said = re.search(r'write\(1, "(put|kept) (\d+)\\n"', line)
                if said is not None and said[1] == "put":
                    before[said[2]] = flushes
                elif said is not None:
                    kept += 1
                    self.assertGreater(flushes, before[said[2]], line)
            self.assertEqual(60, kept)

    def test_disk_fails(self) -> None:
        """
        When the disk reports an error from some flush on, what it was told before is kept, and what comes after is
        refused with an error that names the file.
        """
        lines, _ = self.run_traced(60, 1, "-e", "trace=fdatasync", "-e", "inject=fdatasync:error=EIO:when=20+")
        failed = [line for line in lines if line.startswith("failed ")]
        self.assertIn(f"{self.path.name}: cannot be written: disk I/O error", failed[-1])
        self.assertEqual(60, self.check(lines) + len(failed))

    def test_disk_full(self) -> None:
        """
        The same when it is full for a while; afterwards it is taken again.
        """
        lines, _ = self.run_traced(
            200, AT_ONCE, "-e", "trace=pwrite64", "-e", "inject=pwrite64:error=ENOSPC:when=60..80"
        )
        failed = [line for line in lines if line.startswith("failed ")]
        self.assertIn(f"{self.path.name}: cannot be written: database or disk is full", failed[0])
        self.assertEqual(("kept", 200), (lines[-2].split()[0], self.check(lines) + len(failed)))
