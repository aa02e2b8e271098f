"""
Tests for L{post.front.imap.server}: the connection, log-in, TLS, order, limits and time.
"""

from __future__ import annotations

from base64 import b64encode

from twisted.trial.unittest import SynchronousTestCase

from post.front.imap.assembler import LINE_LIMIT_STRANGER
from post.front.imap.server import (
    BAD_LIMIT,
    BUFFER_LIMIT,
    CONNECTIONS_LIMIT,
    IDLE_S,
    KEEPALIVE_S,
    LINGER_S,
    LOGINS_LIMIT,
    STRANGER_S,
)
from tests.front.imap.doubles import SIZE_LIMIT, World

WELCOME = (
    "OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID ENABLE IDLE NAMESPACE CHILDREN UNSELECT UIDPLUS MOVE SPECIAL-USE "
    f"CREATE-SPECIAL-USE LIST-EXTENDED LIST-STATUS STATUS=SIZE APPENDLIMIT={SIZE_LIMIT}] Welcome."
)
PLAIN = b64encode(b"\0alice\0secret").decode()
TLS = object()


class LoginTests(SynchronousTestCase):
    """
    Tests for logging in.
    """

    def setUp(self) -> None:
        self.world = World()
        self.client = self.world.connect()

    def test_greeting(self) -> None:
        """
        The greeting says what can be done before log-in, and nothing else.
        """
        expected = "* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID AUTH=PLAIN AUTH=LOGIN] POST ready"
        self.assertEqual(expected, self.client.greeting)

    def test_login(self) -> None:
        """
        LOGIN takes atoms, quoted strings and literals.
        """
        for line in ("a LOGIN alice secret", 'a login "alice" "secret"', "a LOGIN {5+}\r\nalice {6+}\r\nsecret"):
            self.assertEqual([f"a {WELCOME}"], self.world.connect().say(line))

    def test_plain(self) -> None:
        """
        AUTHENTICATE PLAIN, with its answer at once or asked for.
        """
        self.assertEqual([f"a {WELCOME}"], self.world.connect().say(f"a AUTHENTICATE PLAIN {PLAIN}"))
        self.assertEqual(["+ "], self.client.say("a authenticate plain"))
        self.assertEqual([f"a {WELCOME}"], self.client.say(PLAIN))

    def test_sasl_login(self) -> None:
        """
        AUTHENTICATE LOGIN, and with the name at once as Outlook does.
        """
        name, password = (b64encode(each).decode() for each in (b"alice", b"secret"))
        asked = ["+ VXNlcm5hbWU6", "+ UGFzc3dvcmQ6", f"a {WELCOME}"]
        self.assertEqual(asked, self.client.say("a AUTHENTICATE LOGIN", name, password))
        self.assertEqual(asked[1:], self.world.connect().say(f"a AUTHENTICATE LOGIN {name}", password))

    def test_sasl_refusals(self) -> None:
        """
        An exchange that is given up, is no base64, or acts for somebody else is BAD; an unknown mechanism is NO.
        """
        other = b64encode(b"bob\0alice\0secret").decode()
        said = self.client.say(
            "a AUTHENTICATE PLAIN",
            "*",
            "b AUTHENTICATE PLAIN",
            "?",
            f"c AUTHENTICATE PLAIN {other}",
            "d AUTHENTICATE X",
        )
        self.assertEqual(
            [
                "+ ",
                "a BAD that is given up",
                "+ ",
                "b BAD that is not base64",
                "c BAD that is one may act only for oneself",
                "d NO [CANNOT] PLAIN, please.",
            ],
            said,
        )

    def test_overlong_answer(self) -> None:
        """
        Of an answer that is too long nothing is believed, and none of it becomes a command.
        """
        self.client.say("a AUTHENTICATE PLAIN")
        self.assertEqual(
            ["a BAD that line cannot be read", "b OK Nothing done."],
            self.client.say(PLAIN + "A" * LINE_LIMIT_STRANGER, "b NOOP"),
        )

    def test_wrong_password(self) -> None:
        """
        A wrong password is answered late, each later than the one before, and the same for a name there is not.
        """
        waits = []
        for line in ("a LOGIN alice wrong", "a LOGIN nobody wrong"):
            waits.append(0.0)
            said = self.client.say(line)
            while not said:
                self.world.clock.advance(0.25)
                waits[-1] += 0.25
                said = self.client.heard()
            self.assertEqual(["a NO [AUTHENTICATIONFAILED] Wrong name or password."], said)
        self.assertEqual([True, True], [waits[0] > 0, waits[1] > waits[0]])

    def test_guessing_goes_on(self) -> None:
        """
        Who has one account cannot go on guessing at another by logging in from time to time.
        """
        for seconds in (0.5, 1.0, 2.0):
            guesser = self.world.connect()
            guesser.say("a LOGIN bob guess")
            self.world.connect().say("a LOGIN alice secret")
            self.world.clock.advance(seconds - 0.01)
            self.assertEqual([], guesser.heard())
            self.world.clock.advance(0.01)
            self.assertEqual(["a NO [AUTHENTICATIONFAILED] Wrong name or password."], guesser.heard())

    def test_guessing_ends(self) -> None:
        """
        After a few wrong passwords the connection ends.
        """
        for _ in range(LOGINS_LIMIT):
            self.client.say("a LOGIN alice wrong")
            self.world.clock.advance(10)
        self.assertEqual("* BYE too many wrong passwords", self.client.heard()[-1])
        self.assertTrue(self.client.ended)

    def test_gone_while_waiting(self) -> None:
        """
        Who goes before the answer to a wrong password leaves nothing behind that waits.
        """
        self.client.say("a LOGIN alice wrong")
        self.client.hang_up()
        self.assertEqual([], self.world.clock.getDelayedCalls())

    def test_second_login(self) -> None:
        """
        Nobody logs in twice.
        """
        self.assertEqual(
            [f"a {WELCOME}", "b BAD you are logged in already"],
            self.client.say("a LOGIN alice secret", "b LOGIN alice secret"),
        )

    def test_before_login(self) -> None:
        """
        Without a log-in nothing of a mailbox can be reached, and without a folder nothing of its messages.
        """
        for line in ("SELECT INBOX", 'LIST "" *', "IDLE", "FETCH 1 FLAGS", "APPEND INBOX {1+}\r\nx", "UID FETCH 1 UID"):
            self.assertEqual("a BAD log in first", self.client.last(f"a {line}"))
        client = self.world.enter("")
        for line in ("FETCH 1 FLAGS", "CHECK", "CLOSE", "EXPUNGE", "UID SEARCH ALL", "UNSELECT", "MOVE 1 Sent"):
            self.assertEqual("a BAD select a folder first", client.last(f"a {line}"))

    def test_mailbox_not_here(self) -> None:
        """
        An account whose mailbox is not there yet is told to wait; nothing is open then.
        """
        self.world.accounts.mailboxes.clear()
        self.assertIn("a NO [UNAVAILABLE]", self.client.last("a LOGIN alice secret"))
        self.assertEqual("b BAD log in first", self.client.last("b SELECT INBOX"))


class PrivacyTests(SynchronousTestCase):
    """
    Tests for TLS, and what may be said without.
    """

    def test_only_on_loopback(self) -> None:
        """
        From another machine no password is taken in clear, in any way.
        """
        client = World(TLS).connect("192.0.2.7")
        self.assertEqual(
            "* OK [CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID STARTTLS LOGINDISABLED] POST ready", client.greeting
        )
        for line in ("a LOGIN alice secret", f"a AUTHENTICATE PLAIN {PLAIN}", "a AUTHENTICATE LOGIN"):
            self.assertEqual(["a NO [PRIVACYREQUIRED] Start TLS first."], client.say(line))

    def test_starttls(self) -> None:
        """
        Behind STARTTLS another machine may log in, and STARTTLS is offered no more.
        """
        client = World(TLS).connect("192.0.2.7")
        self.assertEqual(["a OK begin TLS now"], client.say("a STARTTLS"))
        self.assertIs(TLS, client.wire.tls)
        self.assertEqual(
            ["* CAPABILITY IMAP4rev1 LITERAL+ SASL-IR ID AUTH=PLAIN AUTH=LOGIN", "b OK That is all."],
            client.say("b CAPABILITY"),
        )
        self.assertEqual([f"c {WELCOME}"], client.say("c LOGIN alice secret"))
        self.assertEqual(["d BAD TLS is not to be started here"], client.say("d STARTTLS"))

    def test_implicit(self) -> None:
        """
        Under TLS from the first octet another machine may log in.
        """
        client = World(None, True).connect("192.0.2.7")
        self.assertEqual([f"c {WELCOME}"], client.say("c LOGIN alice secret"))

    def test_not_offered(self) -> None:
        """
        Without a certificate there is no STARTTLS, and once logged in there is none any more.
        """
        self.assertEqual(["a BAD TLS is not to be started here"], World().connect().say("a STARTTLS"))
        client = World(TLS).connect()
        client.say("a LOGIN alice secret")
        self.assertNotIn("STARTTLS", client.say("b CAPABILITY")[0])
        self.assertEqual(["c BAD TLS is not to be started here"], client.say("c STARTTLS"))

    def test_injection(self) -> None:
        """
        What stands behind STARTTLS in clear is never heard: the connection ends.
        """
        client = World(TLS).connect()
        client.send(b"a STARTTLS\r\nb NOOP\r\n")
        self.assertEqual([], client.heard())
        self.assertIsNone(client.wire.tls)
        self.assertTrue(client.ended)


class OrderTests(SynchronousTestCase):
    """
    Tests for what a client may pipeline.
    """

    def setUp(self) -> None:
        self.world = World()
        self.mailbox = self.world.mailbox
        self.mailbox.receive()

    def test_slow_backend(self) -> None:
        """
        Commands are served one after the other, however long one of them takes.
        """
        client = self.world.enter()
        self.mailbox.held = []
        said = client.say("a STORE 1 +FLAGS.SILENT (\\Deleted)", "b EXPUNGE", "c NOOP", "d UNSELECT", "e CREATE x")
        self.assertEqual([], said)
        self.mailbox.release()
        self.assertEqual(
            ["a OK Stored.", "* 1 EXPUNGE", "b OK Expunged.", "c OK Nothing done.", "d OK Closed.", "e OK Created."],
            client.heard(),
        )

    def test_select_then_fetch(self) -> None:
        """
        A FETCH behind a SELECT, in one segment with the log-in, finds the folder.
        """
        client = self.world.connect()
        said = client.say("a LOGIN alice secret", "b SELECT INBOX", "c FETCH 1 UID")
        self.assertEqual(["* 1 FETCH (UID 1)", "c OK Fetched."], said[-2:])

    def test_thousands(self) -> None:
        """
        Thousands of commands in one segment are all answered.
        """
        client = self.world.enter()
        client.send(b"a FETCH 1 UID\r\nb NOOP\r\n" * 3000)
        said = client.heard()
        self.assertEqual(3000, said.count("a OK Fetched."))
        self.assertEqual(3000, said.count("b OK Nothing done."))

    def test_buffer(self) -> None:
        """
        While a command waits its client's octets are taken up to a bound; then the socket is not read until it ends.
        """
        client = self.world.enter()
        self.mailbox.held = []
        client.send(b"a STORE 1 FLAGS (\\Seen)\r\n")
        client.send(b"b NOOP\r\n" * (BUFFER_LIMIT // 8 + 1))
        self.assertEqual("paused", client.wire.producerState)
        self.mailbox.release()
        self.assertEqual("producing", client.wire.producerState)
        self.assertEqual(BUFFER_LIMIT // 8 + 1, client.heard().count("b OK Nothing done."))

    def test_client_does_not_read(self) -> None:
        """
        Nothing is answered ahead of a client that does not take the answers.
        """
        client = self.world.enter()
        client.protocol.pauseProducing()
        self.assertEqual([], client.say("a NOOP", "b NOOP"))
        client.protocol.resumeProducing()
        self.assertEqual(["a OK Nothing done.", "b OK Nothing done."], client.heard())

    def test_turns(self) -> None:
        """
        A command that has worked for long lets others have their turn, and goes on.
        """
        for _ in range(3):
            self.mailbox.receive()
        client = self.world.enter()
        self.mailbox.effort_s = 0.05
        client.protocol.dataReceived(b"a SEARCH ALL\r\n")
        self.assertEqual([], client.heard())
        for _ in range(5):
            self.world.clock.advance(0)
        self.assertEqual(["* SEARCH 1 2 3 4", "a OK That is all."], client.heard())

    def test_gone_meanwhile(self) -> None:
        """
        A client that goes while its command waits harms nothing, and nothing of it stays.
        """
        client = self.world.enter()
        self.mailbox.held = []
        client.say("a FETCH 1 BODY[]", "b STORE 1 FLAGS (x)")
        client.hang_up()
        self.mailbox.release()
        self.world.clock.advance(0)
        self.assertEqual([], self.mailbox.named("INBOX").listeners)
        self.assertEqual([], self.world.clock.getDelayedCalls())


class ErrorTests(SynchronousTestCase):
    """
    Tests for what is not a command.
    """

    def test_not_commands(self) -> None:
        """
        Nonsense is BAD, under its tag if it has one; an empty line is passed over.
        """
        client = World().connect()
        self.assertEqual(
            [
                "a BAD that is not a command here",
                "b BAD that is not a command here",
                "* BAD that is not a tag",
                "* BAD that is not a tag",
                "c BAD there is more than expected",
                "d BAD that line cannot be read",
            ],
            client.say("a", "", "b FOO", "+ NOOP", " NOOP", "c NOOP x", "d NOOP \0"),
        )

    def test_bug_is_not_shown(self) -> None:
        """
        What fails inside is logged, not told, and the connection goes on.
        """
        world = World()
        client = world.connect()
        world.accounts.broken = True
        self.assertEqual(["a NO [SERVERBUG] Something is wrong here."], client.say("a LOGIN alice secret"))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.assertEqual(["b OK Nothing done."], client.say("b NOOP"))

    def test_too_many(self) -> None:
        """
        So many bad commands on end are no mail program; one that is understood makes up for those before.
        """
        client = World().connect()
        client.say(*["a X"] * (BAD_LIMIT - 1), "a NOOP", *["a X"] * (BAD_LIMIT - 1))
        self.assertFalse(client.ended)
        self.assertEqual("* BYE too many errors", client.last("a X"))
        self.assertTrue(client.ended)

    def test_oversized_literal_plus(self) -> None:
        """
        A message over the limit that comes unasked is thrown away, and the connection goes on (RFC 7889: TOOBIG).
        """
        client = World().enter("")
        size = SIZE_LIMIT + 1
        client.send(b"a APPEND INBOX {%d+}\r\n" % size + b"x" * size + b"\r\nb NOOP\r\n")
        self.assertEqual(["a NO [TOOBIG] That is more than is taken.", "b OK Nothing done."], client.heard())

    def test_literal_before_login(self) -> None:
        """
        Who has not logged in cannot make us keep much.
        """
        client = World().connect()
        self.assertEqual(["a NO [TOOBIG] That is more than is taken."], client.say("a LOGIN {1000000}"))


class TimeTests(SynchronousTestCase):
    """
    Tests for time limits.
    """

    def setUp(self) -> None:
        self.world = World()

    def test_stranger(self) -> None:
        """
        Who does not log in is let go after a while, however busily it talks.
        """
        client = self.world.connect()
        for _ in range(10):
            self.world.clock.advance(STRANGER_S / 10)
            client.say("a NOOP")
        self.assertTrue(client.ended)

    def test_stranger_in_the_middle(self) -> None:
        """
        So is who begins an exchange and does not go on.
        """
        client = self.world.connect()
        client.say("a AUTHENTICATE PLAIN")
        self.world.clock.advance(STRANGER_S)
        self.assertEqual(["* BYE idle for too long"], client.heard())
        self.assertTrue(client.ended)

    def test_idle_for_too_long(self) -> None:
        """
        Half an hour of silence ends a connection, not less.
        """
        client = self.world.enter()
        self.world.clock.advance(IDLE_S - 1)
        client.say("a NOOP")
        self.world.clock.advance(IDLE_S - 1)
        self.assertFalse(client.ended)
        self.world.clock.advance(1)
        self.assertEqual(["* BYE idle for too long"], client.heard())

    def test_last_words_not_taken(self) -> None:
        """
        A connection whose client does not take the last words is cut.
        """
        client = self.world.enter()
        client.say("a LOGOUT")
        self.assertFalse(client.wire.disconnected)
        self.world.clock.advance(LINGER_S)
        self.assertTrue(client.wire.disconnected)

    def test_never_reads(self) -> None:
        """
        A client that asks and never takes the answer is cut.
        """
        client = self.world.enter()
        client.protocol.pauseProducing()
        client.say("a NOOP")
        self.world.clock.advance(IDLE_S)
        self.assertTrue(client.wire.disconnected)

    def test_slow_command(self) -> None:
        """
        A command that takes longer than anybody may be silent is not cut off.
        """
        client = self.world.enter()
        self.world.mailbox.held = []
        client.say("a CREATE x")
        self.world.clock.advance(IDLE_S + 1)
        self.world.mailbox.release()
        self.assertEqual(["a OK Created."], client.heard())

    def test_nothing_left(self) -> None:
        """
        When everybody has gone, nothing waits.
        """
        client = self.world.enter()
        client.say("a IDLE")
        client.hang_up()
        self.world.connect().hang_up()
        self.assertEqual([], self.world.clock.getDelayedCalls())

    def test_connections(self) -> None:
        """
        There are so many connections and no more; one that ends makes room.
        """
        clients = [self.world.connect() for _ in range(CONNECTIONS_LIMIT)]
        self.assertIsNone(self.world.factory.buildProtocol(None))
        clients[0].hang_up()
        self.assertIsNotNone(self.world.factory.buildProtocol(None))
        self.world.factory.stop_all()
        self.assertTrue(clients[1].wire.disconnected)


class IdleTests(SynchronousTestCase):
    """
    Tests for IDLE.
    """

    def setUp(self) -> None:
        self.world = World()
        self.mailbox = self.world.mailbox
        self.client = self.world.enter()

    def test_told_at_once(self) -> None:
        """
        What comes, changes and goes is told while it happens.
        """
        self.assertEqual(["+ idling"], self.client.say("a IDLE"))
        self.mailbox.receive()
        self.assertEqual(["* 1 EXISTS", "* 0 RECENT"], self.client.heard())
        self.world.enter().say("b STORE 1 +FLAGS (\\Flagged)")
        self.assertEqual(["* 1 FETCH (UID 1 FLAGS (\\Flagged))"], self.client.heard())
        self.mailbox.vanish(1)
        self.assertEqual(["* 1 EXPUNGE"], self.client.heard())
        self.assertEqual(["a OK IDLE ended."], self.client.say("done"))

    def test_pipelined(self) -> None:
        """
        IDLE, DONE and the next command may come in one segment, or cut anywhere (iOS 18).
        """
        said = ["+ idling", "a OK IDLE ended.", "b OK Nothing done."]
        self.assertEqual(said, self.client.say("a IDLE", "DONE", "b NOOP"))
        for octet in b"a IDLE\r\nDONE\r\nb NOOP\r\n":
            self.client.send(bytes([octet]))
        self.assertEqual(said, self.client.heard())

    def test_keep_alive(self) -> None:
        """
        A silent folder gives a sign of life now and then, for as long as it takes.
        """
        self.client.say("a IDLE")
        for _ in range(100):
            self.world.clock.advance(KEEPALIVE_S)
            self.assertEqual(["* OK still here"], self.client.heard())
        self.assertEqual("a OK IDLE ended.", self.client.last("DONE"))

    def test_other_line(self) -> None:
        """
        Another line than DONE ends it with BAD, and is not taken for a command.
        """
        self.client.say("a IDLE")
        self.assertEqual(["a BAD DONE ends IDLE"], self.client.say("b CREATE x"))
        self.assertNotIn("x", [folder.name for folder in self.mailbox.folders()])

    def test_client_does_not_read(self) -> None:
        """
        What happens while the client takes nothing is told at once when it does.
        """
        self.client.say("a IDLE")
        self.client.protocol.pauseProducing()
        for _ in range(3):
            self.mailbox.receive()
        self.assertEqual([], self.client.heard())
        self.client.protocol.resumeProducing()
        self.assertEqual(["* 3 EXISTS", "* 0 RECENT"], self.client.heard())

    def test_folder_deleted(self) -> None:
        """
        Whose folder another session deletes is sent away.
        """
        client = self.world.enter("Trash")
        client.say("a IDLE")
        self.client.say("b DELETE Trash")
        self.assertEqual(["* BYE the folder has been deleted"], client.heard())
