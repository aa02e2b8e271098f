"""
C{post sim failure|partition|joins} from a terminal.
"""

from __future__ import annotations

import json

from twisted.trial.unittest import SynchronousTestCase

from post.control import EXIT_CONFIG
from tests.cli.commands import post
from tests.scratch import scratch


class FaultsTests(SynchronousTestCase):
    """
    Tests of the three.
    """

    def repeated(self, *options: str) -> str:
        """
        What the experiment says, after it was seen that the command which it names says the same.
        """
        result = post("sim", *options, "--seed", "5")
        self.assertEqual(0, result.exit_code, result.output)
        again = post(*result.output.rpartition("Repeat it with: post ")[2].split())
        # What differs is how long it took here.
        self.assertEqual(result.output.splitlines()[:-3], again.output.splitlines()[:-3])
        self.assertEqual(result.output.splitlines()[-1], again.output.splitlines()[-1])
        return result.output

    def test_failure(self) -> None:
        """
        What became of lookups, and the command that repeats it.
        """
        output = self.repeated("failure", "--nodes", "20", "--percent", "25", "--lookups", "40", "--joined", "10")
        self.assertRegex(output, r"(?m)^killed +5$")
        self.assertRegex(output, r"(?m)^delivered +40 of 40$")
        self.assertRegex(output, r"(?m)^ring made by +global$")

    def test_partition(self) -> None:
        """
        When all were one ring again, and the command that repeats it.
        """
        output = self.repeated("partition", "--nodes", "12", "--split", "2/1/1", "--minutes", "0.5", "--lookups", "0.1")
        self.assertRegex(output, r"(?m)^parts +6 \+ 3 \+ 3$")
        self.assertRegex(output, r"(?m)^one ring, after the healing +[0-9.]+ s$")
        self.assertRegex(output, r"(?m)^at a wrong node, after that +0$")

    def test_joins(self) -> None:
        """
        A column for each rate, and the command that repeats it.
        """
        output = self.repeated("joins", "--nodes", "8", "--rate", "10", "--rate", "0", "--latency", "square")
        self.assertRegex(output, r"(?m)^newcomers per second +10 +all at once$")
        self.assertRegex(output, r"(?m)^in the ring +8 +8$")

    def test_json_and_plots(self) -> None:
        """
        All figures for programs, the seed that chance chose among them, and a picture.
        """
        picture = scratch(self) / "picture.svg"
        for options, promised in (
            (("failure", "--nodes", "9", "--lookups", "20"), "nodes seed killed delivered wrong right_s wall_s"),
            (("partition", "--nodes", "6", "--minutes", "0.2"), "nodes seed parts one_s wrong_after wall_s"),
            (("joins", "--nodes", "4"), "nodes seed msgs_per_join active_p50_s active_p99_s wrong_leaf_sets wall_s"),
        ):
            result = post("sim", *options, "--json", "--plot", picture)
            self.assertEqual(set(), set(promised.split()) - json.loads(result.output).keys())
            self.assertIn("<svg", picture.read_text())
            picture.unlink()

    def test_bad(self) -> None:
        """
        What cannot be done is said before anything is done.
        """
        for options, words in (
            (("partition", "--split", "50"), "'50' is not like 30/70: two to 10 whole numbers"),
            (("partition", "--split", "50/x"), "'50/x' is not like 30/70"),
            (("partition", "--split", "-1/2"), "'-1/2' is not like 30/70"),
            (("partition", "--split", "0/2"), "in '0/2' a part has nobody"),
            (("partition", "--split", "1/999999"), "of 500000 nodes one part would have none"),
            (("failure", "--percent", "95"), "95.0 is not in the range 0<=x<=90"),
            (("joins", "--rate", "-1"), "-1.0 is not in the range x>=0"),
        ):
            result = post("sim", *options, "--nodes", "500000")
            self.assertEqual(2, result.exit_code, result.output)
            self.assertIn(words, result.output)
        result = post("sim", "failure", "--nodes", "3", "--percent", "90")
        self.assertEqual(EXIT_CONFIG, result.exit_code)
        self.assertIn("nobody is left of 3 nodes", result.output)
