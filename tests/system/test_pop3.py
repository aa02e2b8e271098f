"""
POP3 against real nodes, with the client of the standard library.
"""

from __future__ import annotations

import poplib

from twisted.trial.unittest import SynchronousTestCase

from tests.system.rings import Ring, mail, wait_for

LARGE = b"".join(b"%d %b\r\n.\r\n" % (number, b"." * (number % 70)) for number in range(60_000))
"""Two megabytes in which every other line is a dot."""


class Pop3Tests(SynchronousTestCase):
    """
    Tests with one ring each.
    """

    def read(self, client: poplib.POP3, number: int) -> bytes:
        """
        A message.
        """
        return b"".join(line + b"\r\n" for line in client.retr(number)[1])

    def test_life(self) -> None:
        """
        A message comes to the octet with its exact size, and IMAP sees that it is read.  Without QUIT nothing is
        removed; what QUIT was told to remove stays removed when the node is killed at once, and names stay.
        """
        with Ring() as ring:
            for subject, body in (("small", b"x\r\n"), ("large", LARGE)):
                ring.send("alice", "bob", mail(subject, body))
                wait_for(subject, lambda subject=subject: ring.count("bob", subject))  # type: ignore[misc]
            client = ring.pop3("bob")
            with self.assertRaisesRegex(poplib.error_proto, "IN-USE"):
                ring.pop3("bob")
            self.assertEqual(3, client.stat()[0])
            message = self.read(client, 3)
            self.assertEqual(mail("large", LARGE), message[message.index(b"From: alice") :])
            self.assertEqual(b"3 %d" % len(message), client.list()[1][2])
            names = [line.split()[1] for line in client.uidl()[1]]
            client.dele(1)
            client.close()

            with ring.imap("bob") as reader:
                self.assertEqual([b"3"], reader.search(None, "SEEN")[1])
            client = wait_for("the lock", lambda: self.enter(ring))
            self.assertEqual(3, client.stat()[0])
            client.dele(2)
            self.assertEqual(b"+OK Goodbye.", client.quit())
            home = ring.home_of("bob")["name"]
            ring.kill(home)
            wait_for("the report", lambda: ring.node(home)["pid"] is None)
            ring.start_node(home)
            client = wait_for("the node", lambda: self.enter(ring))
            self.assertEqual([names[0], names[2]], [line.split()[1] for line in client.uidl()[1]])
            self.assertEqual(message, self.read(client, 2))
            client.quit()

    def enter(self, ring: Ring) -> poplib.POP3 | None:
        """
        A session of bob's, if he can have one now.
        """
        try:
            return ring.pop3("bob")
        except (OSError, poplib.error_proto):
            return None
