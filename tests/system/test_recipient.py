"""
What recipients decide, on real processes: rules by the command, mail by SMTP, folders seen by IMAP.
"""

from __future__ import annotations

import subprocess
import sys
from functools import partial

from twisted.trial.unittest import SynchronousTestCase

from tests.system.rings import Ring, mail, wait_for


def post(ring: Ring, user: str, *arguments: str, code: int = 0) -> str:
    """
    What a command about C{user} says that ends with C{code}: on standard output, or why not.
    """
    config = ring.home(ring.home_of(user)["name"]) / "node.toml"
    # After the two words that name the command; what begins with a dash later on is its own.
    command = [sys.executable, "-m", "post.cli", *arguments[:2], "--config", str(config), *arguments[2:]]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert ended.returncode == code, (arguments, ended)
    return ended.stdout if code == 0 else ended.stderr


class RecipientTests(SynchronousTestCase):
    """
    Tests of one ring, one after the other on the same processes.
    """

    def test_recipient(self) -> None:
        """
        Rules and the block list decide where mail goes, and a list reaches all who are on it.
        """
        with Ring(users=("alice", "bob", "carol")) as ring:
            self.rules(ring)
            self.lists(ring)

    def rules(self, ring: Ring) -> None:
        """
        Alice's mail goes where bob's rules say; what is bad is refused in one line; and it is the same after a restart.
        """
        post(ring, "bob", "rules", "add", 'folder "Work/Reports" if subject report')
        post(ring, "bob", "rules", "add", "quarantine if tag shop")
        shown = post(ring, "bob", "rules", "add", "--place", "1", "ignore if subject nonsense")
        self.assertEqual(
            ["1  ignore if subject nonsense", "2  folder Work/Reports if subject report", "3  quarantine if tag shop"],
            [line.strip() for line in shown.splitlines()],
        )
        refused = post(ring, "bob", "rules", "add", "delete everything", code=1)
        self.assertEqual("post: a rule begins with accept, folder NAME, quarantine or ignore, not 'delete'\n", refused)
        said = post(ring, "bob", "rules", "test", "--sender", "alice@example.org", "--subject", "the REPORT")
        self.assertEqual("folder Work/Reports (rule: folder Work/Reports if subject report)\n", said)
        ring.stop_node(ring.home_of("bob")["name"])
        ring.start_node("node2")
        with ring.smtp("alice") as client:
            for subject, recipient in (
                ("first report", "bob"),
                ("pure nonsense", "bob"),
                ("an offer", "bob+shop"),
                ("plain words", "bob"),
            ):
                client.sendmail("alice@example.org", [f"{recipient}@example.org"], mail(subject))
        wait_for("the mail", lambda: ring.count("bob", "plain words"))
        self.assertEqual(1, ring.count("bob", "first report", "Work/Reports"))
        self.assertEqual(1, ring.count("bob", "an offer", "Junk"))
        for folder in ("INBOX", "Junk", "Work/Reports"):
            self.assertEqual(0, ring.count("bob", "nonsense", folder))
        ignored = post(ring, "bob", "rules", "list", "--ignored")
        self.assertIn("alice@example.org  (rule: ignore if subject nonsense)", ignored)
        self.assertEqual("strangers have nothing to solve\n", post(ring, "bob", "rules", "puzzle"))
        self.assertIn("0 bits (none) to 24", post(ring, "bob", "rules", "puzzle", "25", code=1))
        said = post(ring, "bob", "rules", "puzzle", "12")
        self.assertEqual("strangers have to solve a puzzle of 12 bits\n", said)
        ring.send("carol", "bob", mail("a stranger's", sender="carol"))
        wait_for("what carol's node worked for", lambda: ring.count("bob", "a stranger's"))
        post(ring, "bob", "block", "add", "alice@example.org")
        ring.send("alice", "bob", mail("from the blocked"))
        post(ring, "bob", "block", "share")
        shown = post(ring, "carol", "block", "subscribe", "bob@example.org")
        self.assertIn("subscribed to the list of bob@example.org, with 1 on it", shown)
        ring.send("alice", "carol", mail("to who follows", recipient="carol"))
        wait_for("the mail", lambda: ring.count("carol", "to who follows", "Junk"))
        post(ring, "carol", "block", "unsubscribe", "bob@example.org")
        post(ring, "bob", "block", "remove", "alice@example.org")
        ring.send("alice", "bob", mail("from the unblocked"))
        wait_for("the mail", lambda: ring.count("bob", "unblocked"))
        self.assertEqual(0, ring.count("bob", "from the blocked"))

    def lists(self, ring: Ring) -> None:
        """
        A list of three, one of whom is off-line: each gets the message once; who may not write to it is told so.
        """
        team = "alice+team@example.org"
        post(ring, "alice", "list", "create", team, "alice@example.org", "bob@example.org")
        shown = post(ring, "alice", "list", "add", "team", "carol@example.org")
        self.assertEqual(3, shown.count("  "))
        refused = post(ring, "alice", "list", "add", "team", "dave@example.org", code=1)
        self.assertEqual("post: there is no dave@example.org in this organisation\n", refused)
        carols = ring.home_of("carol")["name"]
        ring.stop_node(carols)
        ring.send("bob", "alice+team", mail("to the team", sender="bob", recipient="alice+team"))
        for user in ("alice", "bob"):
            wait_for("the mail", partial(ring.count, user, "to the team"))
        with ring.imap("bob") as client:
            number = client.search(None, "SUBJECT", "team")[1][0].decode()
            text = client.fetch(number, "(BODY.PEEK[HEADER])")[1][0]
            assert isinstance(text, tuple)
            self.assertIn(b"List-Id: <alice+team.example.org>\r\n", text[1])
        ring.start_node(carols)
        wait_for("the mail", lambda: ring.count("carol", "to the team"))
        for user in ("alice", "bob", "carol"):
            self.assertEqual(1, ring.count(user, "to the team"), user)
        post(ring, "alice", "list", "remove", "team", "carol@example.org")
        # Alice's own node knows at once; who has looked at the list lately hears of it within ten minutes.
        with ring.smtp("alice") as client:
            client.mail("alice@example.org")
            self.assertEqual(250, client.rcpt(team)[0])
            code, said = client.rcpt("nobody+team@example.org")
            self.assertEqual((550, b"5.1.1"), (code, said[:5]))
        with ring.smtp("carol") as client:
            client.mail("carol@example.org")
            code, said = client.rcpt(team)
            self.assertEqual((550, b"5.7.1 Only those"), (code, said[:16]))
        post(ring, "alice", "list", "delete", "team")
        self.assertIn("no lists", post(ring, "alice", "list", "show"))
