"""
Tests for L{post.front.pop3.session} and L{post.front.pop3.transaction}: what is said and answered.
"""

from __future__ import annotations

from base64 import b64encode
from dataclasses import replace

from twisted.internet.defer import Deferred
from twisted.logger import capturedLogs, eventAsText
from twisted.trial.unittest import SynchronousTestCase

from post.errors import Unreachable
from post.front.auth import PLACES
from post.front.pop3.session import LOGINS_LIMIT
from post.front.pop3.transaction import GLANCE, PIECE
from tests.front.imap.doubles import FakeAccounts
from tests.front.pop3.doubles import DOTS, SIMPLE, Client, World, received

PLAIN = b64encode(b"\0alice\0secret").decode()
TLS = object()
FIRST, SECOND = f"{1:032x}", f"{2:032x}"
WRONG = "-ERR [AUTH] Wrong name or password."
LATER = "-ERR [SYS/TEMP] The ring does not have that now; try again in a moment."
NONE = "-ERR There is no such message."


class LoginTests(SynchronousTestCase):
    """
    Tests for logging in.
    """

    def setUp(self) -> None:
        self.world = World(SIMPLE)
        self.client = self.world.connect()
        self.welcome = f"+OK 1 messages, {len(SIMPLE)} octets"

    def test_greeting(self) -> None:
        """
        The greeting has no timestamp that would offer APOP.
        """
        self.assertEqual("+OK POST ready", self.client.greeting)

    def test_user(self) -> None:
        """
        USER and PASS, in any case of letters, by name or full address.
        """
        for name in ("alice", "alice@example.org"):
            client = self.world.connect()
            self.assertEqual(["+OK", self.welcome], client.say(f"user {name}", "pass secret"))
            client.hang_up()

    def test_password_as_it_is(self) -> None:
        """
        All that stands behind the first space is the password: spaces count, so none is taken off.
        """
        for password in ("secret ", " secret", "secret x"):
            client = self.world.connect()
            client.say("USER alice", f"PASS {password}")
            self.world.clock.advance(20)
            self.assertEqual([WRONG], client.heard())

    def test_pass_alone(self) -> None:
        """
        PASS comes right after USER: nothing of a log-in outlives another command, or a line that is too long.
        """
        refused = "-ERR USER comes right before PASS."
        self.assertEqual([refused], self.client.say("PASS secret"))
        self.assertEqual(refused, self.client.say("USER alice", "CAPA", "PASS secret")[-1])
        self.assertEqual(
            ["+OK", "-ERR That line is too long.", refused],
            self.client.say("USER alice", "X" * 5000, "PASS secret"),
        )

    def test_plain(self) -> None:
        """
        AUTH PLAIN, with its answer at once or asked for (RFC 5034).
        """
        self.assertEqual([self.welcome], self.client.say(f"AUTH PLAIN {PLAIN}"))
        self.client.hang_up()
        other = self.world.connect()
        self.assertEqual(["+ "], other.say("auth plain"))
        self.assertEqual([self.welcome], other.say(PLAIN))

    def test_plain_with_spaces(self) -> None:
        """
        A password with a space and a NUL-separated name come through AUTH PLAIN as they are: base64 is decoded, not
        split.
        """
        self.client.say("AUTH PLAIN " + b64encode(b"\0alice\0se cret").decode())
        self.world.clock.advance(20)
        self.assertEqual([WRONG], self.client.heard())

    def test_sasl_login(self) -> None:
        """
        AUTH LOGIN, as some mail programs have nothing else.
        """
        name, password = (b64encode(each).decode() for each in (b"alice", b"secret"))
        self.assertEqual(
            ["+ VXNlcm5hbWU6", "+ UGFzc3dvcmQ6", self.welcome], self.client.say("AUTH LOGIN", name, password)
        )

    def test_mechanisms(self) -> None:
        """
        AUTH alone lists the mechanisms; CAPA too.
        """
        self.assertEqual(["+OK", "PLAIN", "LOGIN", "."], self.client.say("AUTH"))
        self.assertIn("SASL PLAIN LOGIN", self.client.say("CAPA"))

    def test_sasl_refusals(self) -> None:
        """
        An exchange that is given up, is no base64, or acts for somebody else is refused; what follows is a command.
        """
        other = b64encode(b"bob\0alice\0secret").decode()
        said = self.client.say("AUTH PLAIN", "*", "AUTH PLAIN", "?", f"AUTH PLAIN {other}", "AUTH X", "AUTH PLAIN = x")
        self.assertEqual(
            [
                "+ ",
                "-ERR As you wish.",
                "+ ",
                "-ERR That is not base64.",
                "-ERR That is one may act only for oneself.",
                "-ERR PLAIN, please.",
                "-ERR That is not base64.",
            ],
            said,
        )

    def test_too_long_answer(self) -> None:
        """
        Of an answer that is too long nothing is believed, and none of it becomes a command.
        """
        self.client.say("AUTH PLAIN")
        said = self.client.say(PLAIN + "A" * 5000, "NOOP")
        self.assertEqual(["-ERR That line is too long.", "-ERR Log in first."], said)

    def test_wrong_password(self) -> None:
        """
        A wrong password is answered late, each later than the one before, and the same for a name there is not.
        """
        for name, seconds in (("alice", 0.5), ("nobody", 1.0)):
            self.assertEqual(["+OK"], self.client.say(f"USER {name}", "PASS wrong"))
            self.world.clock.advance(seconds - 0.01)
            self.assertEqual([], self.client.heard())
            self.world.clock.advance(0.01)
            self.assertEqual([WRONG], self.client.heard())

    def test_guessing_ends(self) -> None:
        """
        After a few wrong passwords the connection ends.
        """
        for number in range(LOGINS_LIMIT):
            self.assertFalse(self.client.ended, number)
            self.client.say("USER alice", "PASS wrong")
            self.world.clock.advance(10)
        self.assertEqual([WRONG], self.client.heard())
        self.assertTrue(self.client.ended)

    def test_many_guessers(self) -> None:
        """
        Guessing on many connections has the same brake as on one, whichever port they come by.
        """
        for number in range(PLACES):
            guesser = self.world.connect(secure=number % 2 == 0)
            guesser.say("USER alice", "PASS wrong")
            guesser.hang_up()
        self.client.say("USER alice", "PASS secret")
        self.assertEqual([], self.client.heard())
        self.world.clock.advance(0.5)
        self.assertEqual([self.welcome], self.client.heard())

    def test_gone_while_waiting(self) -> None:
        """
        Who goes before the answer to a wrong password leaves nothing behind that waits.
        """
        self.client.say("USER alice", "PASS wrong")
        self.client.hang_up()
        self.assertEqual([], self.world.clock.getDelayedCalls())

    def test_broken(self) -> None:
        """
        What goes wrong inside is said to be temporary, logged, and not told.
        """
        self.world.accounts.broken = True
        self.assertEqual(
            ["+OK", "-ERR [SYS/TEMP] Something is wrong here."], self.client.say("USER alice", "PASS secret")
        )
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))
        self.world.accounts.broken = False
        self.world.accounts.mailboxes.clear()
        self.assertEqual(
            "-ERR [SYS/TEMP] The mailbox is still waiting for the ring; try again in a moment.",
            self.client.say("USER alice", "PASS secret")[-1],
        )

    def test_logs(self) -> None:
        """
        Whatever goes wrong, no password and nothing of a message is in the log.
        """
        with capturedLogs() as events:
            self.client.say("USER alice", "PASS guessed")
            self.world.clock.advance(1)
            self.world.accounts.broken = True
            self.client.say("USER alice", "PASS secret", f"AUTH PLAIN {PLAIN}")
            self.world.accounts.broken = False
            self.world.mailbox.lost.add(SIMPLE)
            self.client.say(f"AUTH PLAIN {PLAIN}", "RETR 1", "STLS", f"X {PLAIN}")
        logged = "\n".join(eventAsText(event) for event in events)
        self.assertEqual(2, len(self.flushLoggedErrors(RuntimeError)))
        self.assertIn("a command failed", logged)
        for secret in ("guessed", "secret", PLAIN, "hello"):
            self.assertNotIn(secret, logged)

    def test_order(self) -> None:
        """
        What needs a log-in is not done without, and one logs in once.
        """
        for verb in ("STAT", "LIST", "UIDL", "RETR 1", "TOP 1 1", "DELE 1", "RSET", "NOOP"):
            self.assertEqual(["-ERR Log in first."], self.client.say(verb))
        self.client.say("USER alice", "PASS secret")
        for line in ("USER alice", f"AUTH PLAIN {PLAIN}", "AUTH"):
            self.assertEqual(["-ERR You are logged in already."], self.client.say(line))

    def test_names(self) -> None:
        """
        A name that is none is refused before there is a password.
        """
        self.assertEqual(["-ERR USER takes a name."], self.client.say("USER "))
        self.client.send(b"USER \xff\r\n")
        self.assertEqual(["-ERR That is not UTF-8."], self.client.heard())


class TlsTests(SynchronousTestCase):
    """
    Tests for STLS (RFC 2595) and for what is not said in clear.
    """

    def setUp(self) -> None:
        self.world = World(SIMPLE, tls=TLS)

    def test_far_away(self) -> None:
        """
        From another machine nobody logs in without TLS, and nothing is offered that would have one try.
        """
        client = self.world.connect("192.0.2.1")
        self.assertEqual([], [word for word in client.say("CAPA") if word.startswith(("USER", "SASL"))])
        for line in ("USER alice", "AUTH", f"AUTH PLAIN {PLAIN}"):
            self.assertEqual(["-ERR [AUTH] Start TLS first."], client.say(line))
        self.assertTrue(client.say("PASS secret")[0].startswith("-ERR"))
        self.assertEqual(["+OK Begin TLS now."], client.say("STLS"))
        self.assertIn("USER", client.say("CAPA"))
        self.assertEqual("+OK 1 messages", client.say("USER alice", "PASS secret")[-1].partition(",")[0])

    def test_implicit(self) -> None:
        """
        At the port of implicit TLS one logs in from anywhere, and there is no TLS to start.
        """
        client = self.world.connect("192.0.2.1", secure=True)
        self.assertNotIn("STLS", client.say("CAPA"))
        self.assertEqual(["-ERR TLS is not to be started here."], client.say("STLS"))
        self.assertEqual("+OK 1 messages", client.say("USER alice", "PASS secret")[-1].partition(",")[0])

    def test_offered(self) -> None:
        """
        STLS is offered before log-in only, once, and where there is a certificate.
        """
        client = self.world.connect()
        self.assertIn("STLS", client.say("CAPA"))
        client.say("STLS")
        self.assertIs(TLS, client.wire.tls)
        self.assertNotIn("STLS", client.say("CAPA"))
        self.assertEqual(["-ERR TLS is not to be started here."], client.say("STLS"))
        entered = self.world.enter()
        self.assertNotIn("STLS", entered.say("CAPA"))
        self.assertEqual(["-ERR TLS is not to be started here."], entered.say("STLS"))
        self.assertNotIn("STLS", World().connect().say("CAPA"))

    def test_injected(self) -> None:
        """
        What comes behind STLS in one segment is not taken for something said under TLS: the connection ends.
        """
        client = self.world.connect()
        client.send(b"STLS\r\nCAPA\r\n")
        self.assertEqual(([], True), (client.heard(), client.wire.disconnected or client.wire.disconnecting))
        self.assertIsNone(client.wire.tls)

    def test_nothing_remembered(self) -> None:
        """
        A name that was said in clear is forgotten: it may have been somebody in the middle who said it.
        """
        client = self.world.connect()
        client.say("USER alice", "STLS")
        self.assertEqual(["-ERR USER comes right before PASS."], client.say("PASS secret"))


class TransactionTests(SynchronousTestCase):
    """
    Tests for what can be done with messages.
    """

    def setUp(self) -> None:
        self.world = World(SIMPLE, DOTS)
        self.client = self.world.enter()
        self.client.heard()

    def flags(self, uid: int) -> set[str]:
        """
        The flags of a message now.
        """
        return self.world.mailbox.flags(uid)

    def test_capa(self) -> None:
        """
        What is advertised is there, and nothing that is not: neither UTF8 nor what Twisted invented.
        """
        expected = ["+OK", "TOP", "UIDL", "RESP-CODES", "AUTH-RESP-CODE", "PIPELINING", "EXPIRE NEVER", "USER"]
        self.assertEqual([*expected, "SASL PLAIN LOGIN", "IMPLEMENTATION POST", "."], self.client.say("CAPA"))

    def test_stat_list(self) -> None:
        """
        How many, and the exact sizes.
        """
        one, two = len(SIMPLE), len(DOTS)
        self.assertEqual([f"+OK 2 {one + two}"], self.client.say("STAT"))
        self.assertEqual([f"+OK 2 messages, {one + two} octets", f"1 {one}", f"2 {two}", "."], self.client.say("LIST"))
        self.assertEqual([f"+OK 2 {two}"], self.client.say("list 2"))

    def test_uidl(self) -> None:
        """
        The name of a message is that of its entry, the same in every session.
        """
        self.assertEqual([f"1 {FIRST}", f"2 {SECOND}", "."], self.client.say("UIDL")[1:])
        self.client.say("DELE 1", "QUIT")
        again = self.world.enter()
        self.assertEqual([f"+OK 1 {SECOND}"], again.say("UIDL 1"))

    def test_retr(self) -> None:
        """
        A message comes to the octet, with its size, and is read from then on.
        """
        for number, message in ((1, SIMPLE), (2, DOTS)):
            self.client.send(b"RETR %d\r\n" % number)
            answer = self.client.octets()
            self.assertTrue(answer.startswith(b"+OK %d octets\r\n" % len(message)))
            self.assertEqual(message, received(answer))
            self.assertEqual({"\\Seen"}, self.flags(number))

    def test_read_before(self) -> None:
        """
        A message that is read already is not marked again.
        """
        self.client.say("RETR 1")
        entries = self.world.mailbox.named("INBOX").entries
        before = entries[1]
        self.client.say("RETR 1")
        self.assertIs(before, entries[1])

    def test_no_doubled_cr(self) -> None:
        """
        CRLF stays CRLF, in RETR and TOP.
        """
        self.client.send(b"RETR 2\r\nTOP 2 99\r\n")
        self.assertNotIn(b"\r\r", self.client.octets())

    def test_dot_on_an_edge(self) -> None:
        """
        A line with a dot is stuffed wherever the message is cut into pieces: nothing in it ends it.
        """
        for edge in (PIECE, GLANCE, 16384):
            for shift in range(4):
                start = b"\r\n" + b"x" * (edge - 4 - shift)
                message = start + b"\r\n.\r\n+OK spoofed\r\n" + b"y" * PIECE + b"\r\n.\r\n"
                client = World(message).enter()
                client.octets()
                for command in (b"RETR 1\r\n", b"TOP 1 99\r\n"):
                    client.send(command)
                    self.assertEqual(message, received(client.octets()), (edge, shift, command))

    def test_unended(self) -> None:
        """
        A message whose last line is not ended gets its end; an empty one comes as nothing.
        """
        client = World(b"A: b\r\n\r\nx", b"").enter()
        client.octets()
        client.send(b"RETR 1\r\nRETR 2\r\n")
        self.assertEqual(b"+OK 9 octets\r\nA: b\r\n\r\nx\r\n.\r\n+OK 0 octets\r\n.\r\n", client.octets())

    def test_top(self) -> None:
        """
        Header and some lines, the dots stuffed; the message stays unread.
        """
        self.client.send(b"TOP 2 2\r\n")
        self.assertEqual(b"Subject: dots\r\n\r\n.\r\n..\r\n", received(self.client.octets()))
        self.client.send(b"top 2 0\r\n")
        self.assertEqual(b"Subject: dots\r\n\r\n", received(self.client.octets()))
        self.client.send(b"TOP 2 9999999999\r\n")
        self.assertEqual(DOTS, received(self.client.octets()))
        self.assertEqual(set(), self.flags(2))

    def test_top_reads_little(self) -> None:
        """
        For the beginning of a large message no more of it is fetched than has to be.
        """
        world = World(b"A: b\r\n\r\n" + b"line\r\n" * 200_000)
        world.enter().say("TOP 1 5")
        self.assertLessEqual(world.mailbox.read, GLANCE)

    def test_dele(self) -> None:
        """
        What is marked is not shown, numbers stay, and RSET takes the marks back.
        """
        self.assertEqual(["+OK Marked."], self.client.say("DELE 1"))
        self.assertEqual([f"+OK 1 {len(DOTS)}"], self.client.say("STAT"))
        self.assertEqual([f"2 {len(DOTS)}", "."], self.client.say("LIST")[1:])
        self.assertEqual([f"2 {SECOND}", "."], self.client.say("UIDL")[1:])
        for line in ("DELE 1", "RETR 1", "TOP 1 0", "LIST 1", "UIDL 1"):
            self.assertEqual([NONE], self.client.say(line))
        self.assertEqual([f"+OK 2 messages, {len(SIMPLE) + len(DOTS)} octets"], self.client.say("RSET"))
        self.assertEqual([f"+OK 1 {FIRST}"], self.client.say("UIDL 1"))

    def test_no_such(self) -> None:
        """
        A message that there is not is refused, never deleted with success; the connection goes on.
        """
        for number in (0, 3, 99, 9999999999):
            for verb in ("DELE", "RETR", "LIST", "UIDL"):
                self.assertEqual([NONE], self.client.say(f"{verb} {number}"))
        self.assertEqual(["+OK"], self.client.say("NOOP"))

    def test_bad_arguments(self) -> None:
        """
        What is no number, or too many or too few, is refused in one line, and the connection goes on.
        """
        for line in ("DELE x", "DELE", "DELE 1 2", "DELE -1", "DELE +1", "RETR 1x", "RETR 12345678901", "LIST 1 2"):
            self.assertEqual(["-ERR That takes 1 number."], self.client.say(line), line)
        for line in ("TOP 1", "TOP", "TOP 1 -1", "TOP 1 2 3"):
            self.assertEqual(["-ERR That takes 2 numbers."], self.client.say(line), line)
            self.client.say("NOOP")
        for line in ("STAT 1", "RSET x", "NOOP x"):
            self.assertEqual(["-ERR That takes nothing."], self.client.say(line), line)
        self.assertEqual(["-ERR That is not a command here."], self.client.say("LAST"))
        self.assertEqual(["+OK"], self.client.say("NOOP "))

    def test_lost(self) -> None:
        """
        A message that the ring does not have now is refused before anything of it is sent, and stays unread.
        """
        self.world.mailbox.lost.add(SIMPLE)
        self.assertEqual([LATER, LATER], self.client.say("RETR 1", "TOP 1 0"))
        self.assertEqual(set(), self.flags(1))
        self.world.mailbox.lost.clear()
        self.client.send(b"RETR 1\r\n")
        self.assertEqual(SIMPLE, received(self.client.octets()))

    def test_gone(self) -> None:
        """
        A message that another mail program has removed meanwhile is said to be gone; the others keep their numbers, and
        removing it again is no failure.
        """
        self.world.mailbox.vanish(1)
        gone = "-ERR That message has been removed or moved meanwhile."
        self.assertEqual([gone, gone], self.client.say("RETR 1", "TOP 1 0"))
        self.client.send(b"RETR 2\r\n")
        self.assertEqual(DOTS, received(self.client.octets()))
        self.assertEqual(["+OK Marked.", "+OK Goodbye."], self.client.say("DELE 1", "QUIT"))

    def test_another_in_its_place(self) -> None:
        """
        Nothing is given or removed for another message that has its UID.
        """
        entries = self.world.mailbox.named("INBOX").entries
        entries[1] = replace(entries[1], key=b"x" * 16)
        self.assertEqual("-ERR That message", self.client.say("RETR 1")[0][:17])
        self.client.say("DELE 1", "DELE 2", "QUIT")
        self.assertEqual([1], list(entries))

    def test_moved_and_back(self) -> None:
        """
        A message that was moved away and back, and has another UID now, is removed all the same.
        """
        entries = self.world.mailbox.named("INBOX").entries
        entries[9] = replace(entries.pop(1), uid=9)
        self.client.say("DELE 1", "QUIT")
        self.assertEqual([2], list(entries))

    def test_new(self) -> None:
        """
        What comes in meanwhile is seen by the next session.
        """
        self.world.mailbox.receive(SIMPLE)
        self.assertEqual([f"+OK 2 {len(SIMPLE) + len(DOTS)}", NONE], self.client.say("STAT", "RETR 3"))
        self.client.say("QUIT")
        self.assertEqual("+OK 3", self.world.enter().say("STAT")[0][:5])

    def test_inbox_only(self) -> None:
        """
        No other folder is seen.
        """
        self.world.mailbox.receive(SIMPLE, folder="Sent")
        self.client.say("QUIT")
        self.assertEqual("+OK 2", self.world.enter().say("STAT")[0][:5])

    def test_long_list(self) -> None:
        """
        A list of any length comes whole.
        """
        world = World(*[b"x"] * 5000)
        client = world.enter()
        listed = client.say("UIDL")
        self.assertEqual([f"{n} {n:032x}" for n in range(1, 5001)], listed[1:-1])
        self.assertEqual(5002, len(client.say("LIST")))


class SlowAccounts(FakeAccounts):
    """
    Passwords are judged when the test lets them.
    """

    door: Deferred[None]

    async def authenticate(self, login: str, password: bytes) -> str:
        self.door = Deferred()
        await self.door
        return await super().authenticate(login, password)


class EndTests(SynchronousTestCase):
    """
    Tests for QUIT, and for who has the maildrop.
    """

    def setUp(self) -> None:
        self.world = World(SIMPLE, DOTS)

    def uids(self) -> list[int]:
        """
        What the Inbox has.
        """
        return [entry.uid for entry in self.world.mailbox.folder("INBOX").entries()]

    def enter(self) -> Client:
        """
        A session whose first message is marked.
        """
        client = self.world.enter()
        client.say("DELE 1")
        return client

    def test_quit(self) -> None:
        """
        QUIT removes what is marked, and ends the connection.
        """
        client = self.enter()
        self.assertEqual([1, 2], self.uids())
        self.assertEqual((["+OK Goodbye."], True), (client.say("QUIT"), client.ended))
        self.assertEqual([2], self.uids())

    def test_quit_before_login(self) -> None:
        """
        A stranger may leave too.
        """
        client = self.world.connect()
        self.assertEqual((["+OK Goodbye."], True), (client.say("quit"), client.ended))

    def test_durable_first(self) -> None:
        """
        C{+OK} is not said, and nobody else has the maildrop, before the removal is durable.
        """
        client = self.enter()
        self.world.mailbox.held = []
        self.assertEqual(([], False), (client.say("QUIT"), client.ended))
        self.assertEqual("-ERR [IN-USE]", self.in_use())
        self.world.mailbox.release()
        self.assertEqual((["+OK Goodbye."], True), (client.heard(), client.ended))
        self.assertEqual(["+OK 1"], [line[:5] for line in self.world.enter().say("STAT")])

    def in_use(self) -> str:
        """
        How another log-in is answered.
        """
        return self.world.connect().say("USER alice", "PASS secret")[-1][:13]

    def test_gone_at_the_end(self) -> None:
        """
        Who goes after QUIT has removed the messages all the same; until then the maildrop is locked.
        """
        client = self.enter()
        self.world.mailbox.held = []
        client.say("QUIT")
        client.hang_up()
        self.assertEqual("-ERR [IN-USE]", self.in_use())
        self.world.mailbox.release()
        self.assertEqual([2], self.uids())
        self.assertEqual("+OK 1 message", self.in_use())

    def test_failed(self) -> None:
        """
        If the removal fails, that is said, nothing is lost, and the next session has the maildrop.
        """
        for error in (Unreachable("the disk"), RuntimeError("of no concern")):
            client = self.enter()
            self.world.mailbox.held = []
            client.say("QUIT")
            (held,) = self.world.mailbox.held
            self.world.mailbox.held = None
            held.errback(error)
            self.assertEqual(["-ERR [SYS/TEMP] Some deleted messages were not removed."], client.heard())
            self.assertEqual(([1, 2], True), (self.uids(), client.ended))
        self.assertEqual(1, len(self.flushLoggedErrors(RuntimeError)))

    def test_not_without_quit(self) -> None:
        """
        A connection that ends otherwise removes nothing.
        """
        self.enter().hang_up()
        idle = self.enter()
        self.world.clock.advance(600)
        self.assertEqual(([], True), (idle.heard(), idle.ended))
        idle.hang_up()
        spoilt = self.enter()
        spoilt.say(*["x"] * 20)
        spoilt.hang_up()
        unfinished = self.enter()
        unfinished.send(b"QUIT")
        unfinished.hang_up()
        self.assertEqual(["-ERR QUIT takes nothing."], self.enter().say("QUIT 1"))
        self.assertEqual([1, 2], self.uids())

    def test_one_session(self) -> None:
        """
        One session has the maildrop, by whichever port; when it ends in whatever way, the next one can.
        """
        first = self.world.enter()
        self.assertEqual("-ERR [IN-USE]", self.in_use())
        secure = self.world.connect(secure=True)
        self.assertEqual(
            "-ERR [IN-USE] Another POP3 session has this mailbox; try again in a moment.",
            secure.say("USER alice", "PASS secret")[-1],
        )
        self.assertEqual(["-ERR Log in first."], secure.say("STAT"))
        first.say("QUIT")
        self.assertEqual("+OK 2", secure.say("USER alice", "PASS secret")[-1][:5])
        first.hang_up()
        self.assertEqual("-ERR [IN-USE]", self.in_use())
        secure.hang_up()
        self.assertEqual("+OK 2 message", self.in_use())

    def test_gone_at_login(self) -> None:
        """
        Who goes while the password is judged, or while that has to wait, leaves no lock behind.
        """
        quick = self.world.accounts
        slow = self.world.factory.accounts = SlowAccounts(self.world.mailbox)
        judged = self.world.connect()
        judged.say("USER alice", "PASS secret")
        judged.hang_up()
        slow.door.callback(None)
        self.world.factory.accounts = quick
        for _ in range(PLACES):
            guesser = self.world.connect()
            guesser.say("USER alice", "PASS wrong")
            guesser.hang_up()
        waiting = self.world.connect()
        waiting.say("USER alice", "PASS secret")
        waiting.hang_up()
        self.world.clock.advance(60)
        self.assertEqual("+OK 2 message", self.in_use())
