"""
C{post sim}: experiments from a terminal.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from post.control import EXIT_CONFIG
from tests.cli.commands import post
from tests.scratch import scratch
from tests.system.rings import wait_for


class EndingTests(SynchronousTestCase):
    """
    An experiment that takes too long.
    """

    def test_interrupted(self) -> None:
        """
        It ends at Ctrl-C, and no node is said to have failed by that.
        """
        command = (sys.executable, "-m", "post.cli", "sim", "churn", "--nodes", "60", "--minutes", "10000")
        run = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True)
        self.addCleanup(run.wait)
        self.addCleanup(run.kill)
        wait_for("an experiment that runs", lambda: _cpu_s(run.pid) > 2)
        run.send_signal(signal.SIGINT)
        said, _ = run.communicate(timeout=30)
        self.assertEqual((-signal.SIGINT, b""), (run.returncode, said))


def _cpu_s(pid: int) -> float:
    """
    What a process has used so far.
    """
    ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
    return sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK")


class RoutingTests(SynchronousTestCase):
    """
    Tests of C{post sim routing}.
    """

    def test_table(self) -> None:
        """
        A table with a column for each ring, and the command that repeats it.
        """
        result = post("sim", "routing", "--nodes", "5", "--nodes", "12", "--lookups", "40", "--seed", "9")
        self.assertEqual(0, result.exit_code, result.output)
        self.assertRegex(result.output, r"(?m)^delivered +40 of 40  40 of 40$")
        self.assertRegex(result.output, r"(?m)^nodes +5 +12$")
        self.assertIn("post sim routing --nodes 5 --nodes 12 --lookups 40 --seed 9\n", result.output)
        self.assertEqual(0, post(*result.output.rpartition("Repeat it with: post ")[2].split()).exit_code)

    def test_json(self) -> None:
        """
        An object for one ring, with all figures; a list for several.  The seed that chance chose is among them.
        """
        one = json.loads(post("sim", "routing", "--nodes", "6", "--lookups", "20", "--json").output)
        promised = "nodes lookups hops_mean hops_p99 delivered wrong stretch_mean msgs_per_node_s wall_s bytes_per_node"
        self.assertEqual(set(), set(promised.split()) - one.keys())
        self.assertEqual((6, 20, 20, 0), (one["nodes"], one["lookups"], one["delivered"], one["wrong"]))
        again = post("sim", "routing", "--nodes", "6", "--lookups", "20", "--json", "--seed", str(one["seed"])).output
        self.assertEqual(one["hops_histogram"], json.loads(again)["hops_histogram"])
        several = post("sim", "routing", "--nodes", "2", "--nodes", "3", "--lookups", "5", "--json").output
        self.assertEqual([2, 3], [each["nodes"] for each in json.loads(several)])

    def test_unreachable(self) -> None:
        """
        Where not everybody reaches everybody, leaf sets are right and lookups arrive all the same.
        """
        words = ("sim", "routing", "--nodes", "20", "--lookups", "40", "--unreachable", "10", "--seed", "3")
        found = json.loads(post(*words, "--json").output)
        self.assertEqual((40, 0, 0), (found["delivered"], found["wrong"], found["wrong_leaf_sets"]))
        self.assertGreater(found["indirect"], 0)
        self.assertEqual(0, json.loads(post(*words, "--one-way", "--json").output)["indirect"])
        again = "post sim routing --nodes 20 --lookups 40 --unreachable 10 --one-way --seed 3\n"
        self.assertIn(again, post(*words, "--one-way").output)

    def test_plot(self) -> None:
        """
        It draws what was measured, into the file that was named.
        """
        path = scratch(self) / "hops.svg"
        post("sim", "routing", "--nodes", "5", "--lookups", "20", "--plot", path)
        self.assertIn("<svg", path.read_text())
        path = path.with_suffix(".png")
        post("sim", "routing", "--nodes", "5", "--nodes", "8", "--lookups", "20", "--plot", path)
        self.assertTrue(path.read_bytes().startswith(b"\x89PNG"))

    def test_bad(self) -> None:
        """
        What cannot be done is said before anything is done.
        """
        for options, words in (
            (("--latency", "nowhere.txt"), "nowhere.txt is neither sphere nor square nor a file"),
            (("--plot", "hops.pdf"), "hops.pdf ends neither in .svg nor in .png"),
            (("--plot", "/nowhere/hops.svg"), "there is no directory /nowhere"),
        ):
            result = post("sim", "routing", "--nodes", "1000000", *options)
            self.assertEqual(EXIT_CONFIG, result.exit_code, result.output)
            self.assertIn(words, result.output)
        self.assertEqual(2, post("sim", "routing", "--nodes", "0").exit_code)


class ChurnTests(SynchronousTestCase):
    """
    Tests of C{post sim churn}.
    """

    def test_table(self) -> None:
        """
        What became of lookups, and the command that repeats it.
        """
        options = ("--nodes", "20", "--session", "20", "--minutes", "3", "--warm-up", "1", "--lookups", "0.2")
        result = post("sim", "churn", *options, "--seed", "5")
        self.assertEqual(0, result.exit_code, result.output)
        self.assertRegex(result.output, r"(?m)^at a wrong node +0$")
        again = post(*result.output.rpartition("Repeat it with: post ")[2].split())
        self.assertEqual(result.output.splitlines()[:-2], again.output.splitlines()[:-2])

    def test_repeated(self) -> None:
        """
        The command names whatever was asked for, also the model of the network.
        """
        options = ("--nodes", "4", "--minutes", "0.5", "--warm-up", "0", "--lookups", "0.2", "--latency", "square")
        result = post("sim", "churn", *options, "--session", "10", "--session", "20", "--seed", "5")
        self.assertIn("churn --nodes 4 --session 10 --session 20 --minutes 0.5 --warm-up 0 --loss 0", result.output)
        self.assertTrue(result.output.endswith(" --lookups 0.2 --latency square --seed 5\n"), result.output)

    def test_sessions(self) -> None:
        """
        One run for each session time, and a picture of what it costs over them.
        """
        picture = scratch(self) / "churn.svg"
        options = ("--nodes", "8", "--minutes", "4", "--warm-up", "0", "--lookups", "0.1", "--seed", "5", "--json")
        result = post("sim", "churn", *options, "--session", "3", "--session", "30", "--plot", picture)
        self.assertEqual(2, len(json.loads(result.output)))
        self.assertIn("<svg", picture.read_text())

    def test_trace(self) -> None:
        """
        From a file, as JSON and as a picture.
        """
        directory = scratch(self)
        trace, picture = directory / "trace", directory / "churn.svg"
        trace.write_text("".join(f"0 {node} up\n" for node in range(6)) + "30 2 down\n200 2 up\n")
        result = post(
            *("sim", "churn", "--trace", trace, "--minutes", "1", "--warm-up", "0", "--lookups", "0.2"),
            *("--json", "--plot", picture),
        )
        found = json.loads(result.output)
        promised = "nodes seed lookups session_mean_s lost incorrect control_msgs_per_node_s wall_s"
        self.assertEqual(set(), set(promised.split()) - found.keys())
        self.assertEqual((1, 0), (found["departures"], found["incorrect"]))
        self.assertIn("<svg", picture.read_text())
        trace.write_text("now 1 up\n")
        result = post("sim", "churn", "--trace", trace)
        self.assertEqual(EXIT_CONFIG, result.exit_code)
        self.assertIn("trace, line 1: not a second", result.output)
        trace.write_text("")
        result = post("sim", "churn", "--trace", trace)
        self.assertEqual(EXIT_CONFIG, result.exit_code)
        self.assertIn("nobody is there at the beginning", result.output)


class AttackTests(SynchronousTestCase):
    """
    Tests of C{post sim attack}.
    """

    def test_table(self) -> None:
        """
        A table with a column for each part that lies, and the command that repeats it.
        """
        options = ("sim", "attack", "--nodes", "30", "--faulty", "10", "--faulty", "20", "--lookups", "20")
        result = post(*options, "--seed", "9")
        self.assertEqual(0, result.exit_code, result.output)
        self.assertRegex(result.output, r"(?m)^of these, liars +10.0 % +20.0 %$")
        self.assertIn("post sim attack --nodes 30 --faulty 10.0 --faulty 20.0 --lookups 20 --seed 9\n", result.output)
        self.assertEqual(0, post(*result.output.rpartition("Repeat it with: post ")[2].split()).exit_code)

    def test_json(self) -> None:
        """
        An object with all figures that programs look for.
        """
        one = json.loads(post("sim", "attack", "--nodes", "20", "--faulty", "30", "--lookups", "10", "--json").output)
        self.assertEqual(
            set(), set(["nodes", "lookups", "faulty_fraction", "success", "overhead", "plain_success"]) - one.keys()
        )
        self.assertEqual((20, 10, 0.3), (one["nodes"], one["lookups"], one["faulty_fraction"]))
        self.assertIs(False, one["directory"])
        options = ("--faulty", "49", "--directory", "--away", "20", "--lookups", "5", "--seed", "1")
        listed = post("sim", "attack", "--nodes", "40", *options, "--json").output
        self.assertEqual((True, 1.0), (json.loads(listed)["directory"], json.loads(listed)["success"]))

    def test_plot(self) -> None:
        """
        Success over liars is drawn.
        """
        path = scratch(self) / "liars.svg"
        post("sim", "attack", "--nodes", "8", "--faulty", "10", "--faulty", "30", "--lookups", "5", "--plot", path)
        self.assertIn("<svg", path.read_text())

    def test_bad(self) -> None:
        """
        Half of the nodes, or more, cannot be outvoted, and four are no ring to attack.
        """
        for options in (("--faulty", "50"), ("--faulty", "-1"), ("--nodes", "4")):
            result = post("sim", "attack", *options)
            self.assertEqual(2, result.exit_code, result.output)
            self.assertIn("is not in the range", result.output)
        result = post("sim", "attack", "--away", "10")
        self.assertEqual(EXIT_CONFIG, result.exit_code)
        self.assertIn("--away: has no meaning without --directory", result.output)


class StorageTests(SynchronousTestCase):
    """
    Tests of C{post sim storage}.
    """

    SMALL = ("sim", "storage", "--nodes", "8", "--objects", "10", "--size", "100", "--minutes", "2", "--off", "1")

    def test_table(self) -> None:
        """
        What became of objects, and the command that repeats it.
        """
        options = ("--session", "3", "--gone", "50", "--k", "2", "--fetches", "0.5", "--latency", "square")
        result = post(*self.SMALL, *options, "--seed", "5")
        self.assertEqual(0, result.exit_code, result.output)
        self.assertRegex(result.output, r"(?m)^inserted +10 of 10$")
        self.assertRegex(result.output, r"(?m)^lost for good +0$")
        again = post(*result.output.rpartition("Repeat it with: post ")[2].split())
        self.assertEqual(result.output.splitlines()[:-2], again.output.splitlines()[:-2])
        self.assertEqual(result.output.splitlines()[-1], again.output.splitlines()[-1])

    def test_json_and_plot(self) -> None:
        """
        All figures for programs, and a picture.
        """
        picture = scratch(self) / "copies.svg"
        found = json.loads(post(*self.SMALL, "--session", "0", "--json", "--plot", picture).output)
        promised = (
            "nodes seed objects inserted failed_inserts fetches fetched not_found lost below_k repair_bytes"
            " stored_bytes repair_ratio msgs_per_node_s wall_s"
        )
        self.assertEqual(set(), set(promised.split()) - found.keys())
        self.assertEqual(
            (8, 10, 10, 3000), (found["nodes"], found["objects"], found["inserted"], found["stored_bytes"])
        )
        self.assertEqual((0, 0, 0), (found["lost"], found["not_found"], found["departures"]))
        self.assertIn("<svg", picture.read_text())

    def test_bad(self) -> None:
        """
        What cannot be done is said before anything is done.
        """
        for options, words in (
            (("--nodes", "2"), "on 2 nodes there cannot be 3 copies"),
            (("--size", "1000000"), "1000000 is not in the range"),
            (("--gone", "101"), "101.0 is not in the range"),
            (("--off", "0"), "0.0 is not in the range"),
        ):
            result = post("sim", "storage", *options)
            self.assertEqual(2, result.exit_code, result.output)
            self.assertIn(words, result.output)
