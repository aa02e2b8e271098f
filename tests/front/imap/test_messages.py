"""
Tests for L{post.front.imap.messages}, and what sessions see of one another, as transcripts.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from post.front.imap.messages import BATCH, BATCH_BYTES
from tests.front.imap.doubles import SIMPLE, World


class FetchTests(SynchronousTestCase):
    """
    Tests for FETCH.
    """

    def setUp(self) -> None:
        self.world = World()
        self.mailbox = self.world.mailbox

    def test_what_the_entry_says(self) -> None:
        """
        Flags, sizes and dates, by number and by UID, and the macros.
        """
        self.mailbox.receive(SIMPLE, "\\Seen")
        client = self.world.enter()
        self.assertEqual(
            [
                f'* 1 FETCH (FLAGS (\\Seen) INTERNALDATE "04-Mar-2026 12:00:00 +0000" RFC822.SIZE {len(SIMPLE)})',
                "a OK Fetched.",
            ],
            client.say("a FETCH 1 FAST"),
        )
        self.assertEqual(["* 1 FETCH (UID 1 FLAGS (\\Seen))", "a OK Fetched."], client.say("a UID FETCH 1:* FLAGS"))
        self.assertEqual(["* 1 FETCH (UID 1)", "a OK Fetched."], client.say("a UID FETCH 1:4294967295 (UID)"))
        self.assertIn("ENVELOPE (", client.say("a FETCH 1 ALL")[0])
        self.assertIn('BODY ("TEXT"', client.say("a FETCH 1 FULL")[0])

    def test_numbers_beyond(self) -> None:
        """
        A number that no message has is BAD; a UID that none has is just not there.
        """
        client = self.world.enter()
        self.assertEqual(["a BAD there is no message of that number"], client.say("a FETCH 1:* FLAGS"))
        self.mailbox.receive()
        client.say("a NOOP")
        for command in ("FETCH 1:2 FLAGS", "STORE 2 FLAGS ()", "COPY 2 Sent", "MOVE 1:2 Sent", "FETCH 0 FLAGS"):
            self.assertIn("a BAD", client.last(f"a {command}"))
        self.assertEqual(["a OK Fetched."], client.say("a UID FETCH 7 FLAGS"))
        self.assertEqual(["a OK Done."], client.say("a UID MOVE 7 Sent"))

    def test_thousands_of_numbers(self) -> None:
        """
        Three thousand numbers in one command.
        """
        for _ in range(3000):
            self.mailbox.receive(b"")
        client = self.world.enter()
        numbers = ",".join(str(number) for number in range(3000, 0, -1))
        self.assertEqual(3001, len(client.say(f"a FETCH {numbers} UID")))

    def test_seen(self) -> None:
        """
        BODY[] and its old names mark as read and say so; PEEK and structure do not.
        """
        client = self.world.enter()
        for item in ("BODY[]", "RFC822", "RFC822.TEXT", "BODY[TEXT]", "BODY[1]<0.2>"):
            uid = self.mailbox.receive()
            said = client.say("a NOOP", f"b FETCH {uid} {item}")
            self.assertEqual([" FLAGS (\\Seen))", "b OK Fetched."], [said[-2][-15:], said[-1]])
            self.assertEqual({"\\Seen"}, self.mailbox.flags(uid))
        uid = self.mailbox.receive()
        client.say("a NOOP")
        for item in ("BODY.PEEK[]", "RFC822.HEADER", "BODY", "BODYSTRUCTURE", "ENVELOPE", "BODY.PEEK[HEADER]"):
            self.assertNotIn("FLAGS", "".join(client.say(f"b FETCH {uid} {item}")))
        self.assertEqual(set(), self.mailbox.flags(uid))

    def test_flags_asked_with_body(self) -> None:
        """
        Flags fetched together with a body are those after it has been read, and told once.
        """
        self.mailbox.receive(b"x\r\n\r\ny", "\\Flagged")
        self.assertEqual(
            ["* 1 FETCH (FLAGS (\\Flagged \\Seen) BODY[TEXT] {1}", "y)", "a OK Fetched."],
            self.world.enter().say("a FETCH 1 (FLAGS BODY[TEXT])"),
        )

    def test_unavailable(self) -> None:
        """
        A message that cannot be had is not marked as read; the others are answered, and the end says NO.
        """
        self.mailbox.receive(b"lost\r\n\r\n")
        self.mailbox.receive(b"x\r\n\r\ny")
        self.mailbox.lost.add(b"lost\r\n\r\n")
        self.assertEqual(
            [
                "* 2 FETCH (BODY[TEXT] {1}",
                "y FLAGS (\\Seen))",
                "a NO [UNAVAILABLE] 1 messages cannot be had from the ring now.",
            ],
            self.world.enter().say("a FETCH 1:2 BODY[TEXT]"),
        )
        self.assertEqual(set(), self.mailbox.flags(1))

    def test_large(self) -> None:
        """
        A large message comes whole, in pieces, and marks as read; many small ones keep their order.
        """
        large = b"Subject: x\r\n\r\n" + bytes(range(1, 256)) * (4 * BATCH_BYTES // 255)
        for message in [*[b"small"] * (BATCH + 3), large, b"last"]:
            self.mailbox.receive(message)
        client = self.world.enter()
        client.send(b"a UID FETCH 1:* BODY[]\r\n")
        said = client.octets()
        number = BATCH + 4
        self.assertIn(
            b"* %d FETCH (UID %d BODY[] {%d}\r\n%b FLAGS (\\Seen))\r\n" % (number, number, len(large), large), said
        )
        self.assertLess(said.index(b"* 19 FETCH"), said.index(b"* 20 FETCH"))
        self.assertTrue(said.endswith(b"* 21 FETCH (UID 21 BODY[] {4}\r\nlast FLAGS (\\Seen))\r\na OK Fetched.\r\n"))

    def test_client_takes_its_time(self) -> None:
        """
        Of a large message no more is read from the ring than the client takes.
        """
        large = b"x" * (8 * BATCH_BYTES)
        self.mailbox.receive(large)
        client = self.world.enter()
        client.protocol.pauseProducing()
        client.protocol._full = False  # The command begins, and its first piece fills the socket.
        write = client.wire.write

        def full(data: bytes) -> None:
            write(data)
            client.protocol.pauseProducing()

        client.wire.write = full  # type: ignore[method-assign]
        client.say("a FETCH 1 BODY.PEEK[]")
        self.assertLess(self.mailbox.read, BATCH_BYTES)
        for _ in range(20):
            client.protocol.resumeProducing()
        self.assertEqual(len(large), self.mailbox.read)

    def test_lost_in_the_middle(self) -> None:
        """
        A literal that cannot be completed ends the connection: there is no other way to say so.
        """
        large = b"x" * (8 * BATCH_BYTES)
        self.mailbox.receive(large)
        client = self.world.enter()
        client.protocol.pauseProducing()
        client.protocol._full = False
        write = client.wire.write

        def full(data: bytes) -> None:
            write(data)
            client.protocol.pauseProducing()

        client.wire.write = full  # type: ignore[method-assign]
        client.say("a FETCH 1 BODY.PEEK[]")
        self.mailbox.lost.add(large)
        client.protocol.resumeProducing()
        self.assertTrue(client.wire.disconnected)

    def test_not_items(self) -> None:
        """
        What cannot be fetched is BAD.
        """
        self.mailbox.receive()
        client = self.world.enter()
        wrong = [
            "()",
            "FOO",
            "BODY.PEEK",
            "BODY[1.]",
            "BODY[.1]",
            "BODY[0]",
            "BODY[1HEADER]",
            "BODY[MIME]",
            "BODY[]<0.0>",
        ]
        wrong += ["BODY[HEADER.FIELDS ()]", "BODY[HEADER.FIELDS]", "BODY[]<1>", "BODY[", "(UID", "MODSEQ", "(ALL)"]
        wrong += ["BODY[HEADER.FIELDS ({3+}\r\n\r\n:)]", "(" + " ".join(["UID"] * 101) + ")"]
        for item in wrong:
            self.assertIn("a BAD", client.last(f"a FETCH 1 {item}"), item)


class ChangeTests(SynchronousTestCase):
    """
    Tests for STORE, COPY, MOVE and EXPUNGE.
    """

    def setUp(self) -> None:
        self.world = World()
        self.mailbox = self.world.mailbox
        for _ in range(3):
            self.mailbox.receive()
        self.client = self.world.enter()

    def test_store(self) -> None:
        """
        Flags are set, added and taken away; each is told.
        """
        for command, expected in (
            ("FLAGS (\\Seen a)", "\\Seen a"),
            ("+FLAGS \\Deleted b", "\\Deleted \\Seen a b"),
            ("-flags (a \\seen)", "\\Deleted b"),
            ("FLAGS ()", ""),
        ):
            said = self.client.say(f"a STORE 2 {command}")
            self.assertEqual([f"* 2 FETCH (FLAGS ({expected}))", "a OK Stored."], said)
        self.assertEqual(
            ["* 2 FETCH (UID 2 FLAGS (x))", "a OK Stored."], self.client.say("a UID STORE 2 FLAGS (x \\Recent)")
        )

    def test_silent(self) -> None:
        """
        With .SILENT nothing is told but what is not as the client reckons: here what another has done meanwhile.
        """
        self.assertEqual(["a OK Stored."], self.client.say("a STORE 1:3 +FLAGS.SILENT (\\Seen)"))
        self.assertEqual(["b OK Nothing done."], self.client.say("b NOOP"))
        other = self.world.enter()
        self.mailbox.held = []
        self.client.say("c STORE 1:2 -FLAGS.SILENT (\\Seen)")
        held, self.mailbox.held = self.mailbox.held, None
        other.say("d STORE 1 +FLAGS.SILENT (\\Answered)")
        held[0].callback(None)
        self.assertEqual(["* 1 FETCH (UID 1 FLAGS (\\Answered))", "c OK Stored."], self.client.heard())

    def test_flags_of_the_server(self) -> None:
        """
        A flag that a silent STORE could not remove is told.
        """
        self.mailbox.receive(SIMPLE, "$Verified")
        self.client.say("a NOOP")
        self.assertEqual(
            ["* 4 FETCH (UID 4 FLAGS ($Verified \\Seen))", "a OK Stored."],
            self.client.say("a STORE 4 FLAGS.SILENT (\\Seen)"),
        )

    def test_keyword_in_other_letters(self) -> None:
        """
        Case does not make another keyword.
        """
        self.client.say("a STORE 1 FLAGS ($Junk)", "b STORE 2 +FLAGS ($junk)", "c STORE 1 -FLAGS ($JUNK)")
        self.assertEqual([set(), {"$Junk"}], [self.mailbox.flags(1), self.mailbox.flags(2)])

    def test_copy(self) -> None:
        """
        COPY tells which UIDs became which (RFC 4315); to nowhere it says that the folder may be made.
        """
        self.assertEqual(["a OK [COPYUID 72 1,3 1:2] Done."], self.client.say("a COPY 3,1 Sent"))
        self.assertEqual(["a NO [TRYCREATE] There is no such folder."], self.client.say("a COPY 1 Nowhere"))
        self.assertEqual(
            ["* 4 EXISTS", "* 0 RECENT", "a OK [COPYUID 71 2 4] Done."], self.client.say("a UID COPY 2 INBOX")
        )

    def test_move(self) -> None:
        """
        MOVE tells the new UIDs first, then that the messages are gone (RFC 6851).
        """
        self.assertEqual(
            ["* OK [COPYUID 72 1:2 1:2] Moved.", "* 2 EXPUNGE", "* 1 EXPUNGE", "a OK Done."],
            self.client.say("a MOVE 1:2 Sent"),
        )
        self.assertEqual(["* 1 FETCH (UID 3)", "b OK Fetched."], self.client.say("b FETCH 1 UID"))
        self.assertEqual(["a NO [TRYCREATE] There is no such folder."], self.client.say("a MOVE 1 Nowhere"))

    def test_vanished(self) -> None:
        """
        What somebody else has expunged can still be named: nothing happens to it, and nobody is shown an error.
        """
        self.mailbox.vanish(2)
        self.assertEqual(["a OK Stored."], self.client.say("a STORE 2 +FLAGS (x)"))
        self.assertEqual(["a OK [EXPUNGEISSUED] Some are gone."], self.client.say("a FETCH 2 (FLAGS ENVELOPE)"))
        self.assertEqual(["* 2 EXPUNGE", "a OK Done."], self.client.say("a MOVE 2 Sent"))

    def test_expunge(self) -> None:
        """
        EXPUNGE removes what is deleted, from the last on; UID EXPUNGE only of what it names (RFC 4315).
        """
        self.client.say("a STORE 1:3 FLAGS.SILENT (\\Deleted)")
        self.assertEqual(["* 2 EXPUNGE", "a OK Expunged."], self.client.say("a UID EXPUNGE 2,9"))
        self.assertEqual(["* 2 EXPUNGE", "* 1 EXPUNGE", "a OK Expunged."], self.client.say("a EXPUNGE"))


class SessionsTests(SynchronousTestCase):
    """
    Tests for two sessions on one folder.
    """

    def setUp(self) -> None:
        self.world = World()
        self.mailbox = self.world.mailbox
        for _ in range(3):
            self.mailbox.receive()
        self.one, self.other = self.world.enter(), self.world.enter()

    def test_flags(self) -> None:
        """
        One is told what the other marks, with its next command.
        """
        self.one.say("a STORE 2 +FLAGS (\\Flagged)")
        self.assertEqual([], self.other.heard())
        self.assertEqual(["* 2 FETCH (UID 2 FLAGS (\\Flagged))", "b OK Nothing done."], self.other.say("b NOOP"))

    def test_expunge_waits(self) -> None:
        """
        Numbers stay while commands use them: an EXPUNGE is told with NOOP, not with FETCH, STORE or SEARCH.
        """
        self.one.say("a STORE 1 +FLAGS.SILENT (\\Deleted)", "b EXPUNGE")
        self.assertEqual(["* 3 FETCH (UID 3)", "c OK Fetched."], self.other.say("c FETCH 3 UID"))
        self.assertEqual(["* 3 FETCH (FLAGS (x))", "d OK Stored."], self.other.say("d STORE 3 FLAGS (x)"))
        self.assertEqual(["* SEARCH 2 3", "e OK That is all."], self.other.say("e SEARCH ALL"))
        self.assertEqual(["* 1 EXPUNGE", "f OK Nothing done."], self.other.say("f NOOP"))
        self.assertEqual(["* 2 FETCH (UID 3)", "g OK Fetched."], self.other.say("g FETCH 2 UID"))

    def test_by_uid(self) -> None:
        """
        Commands by UID use no numbers, and may tell of what is gone.
        """
        self.mailbox.vanish(1)
        self.assertEqual(["* SEARCH 2 3", "* 1 EXPUNGE", "a OK That is all."], self.one.say("a UID SEARCH ALL"))

    def test_new_behind_gone(self) -> None:
        """
        What is new is counted in while what is gone still counts.
        """
        self.mailbox.vanish(3)
        self.mailbox.receive()
        self.assertEqual(["* 4 EXISTS", "* 0 RECENT", "a OK Fetched."], self.one.say("a FETCH 1 FLAGS")[1:])
        self.assertEqual(["* 3 EXPUNGE", "b OK Nothing done."], self.one.say("b NOOP"))
        self.assertEqual(["* 3 FETCH (UID 4)", "c OK Fetched."], self.one.say("c FETCH 3 UID"))

    def test_moved_in(self) -> None:
        """
        What another session moves in is found by UID at once.
        """
        self.mailbox.receive(folder="Sent")
        mover = self.world.enter("Sent")
        mover.say("a MOVE 1 INBOX")
        self.assertIn("* 4 EXISTS", self.one.say("b NOOP"))
        self.assertEqual(["* 4 FETCH (UID 4)", "c OK Fetched."], self.one.say("c UID FETCH 4:* UID"))

    def test_folder_deleted_meanwhile(self) -> None:
        """
        Whose folder is deleted during a command is sent away when the command has ended: until then the client takes
        every octet for its answer.
        """
        self.mailbox.receive(b"x\r\n\r\ny", folder="Sent")
        reader = self.world.enter("Sent")
        self.mailbox.held = []
        reader.say("a FETCH 1 BODY.PEEK[TEXT]", "b NOOP")
        held, self.mailbox.held = self.mailbox.held, None
        self.one.say("c DELETE Sent")
        self.assertEqual([], reader.heard())
        held[0].callback(None)
        self.assertEqual(
            ["* 1 FETCH (BODY[TEXT] {1}", "y)", "a OK Fetched.", "* BYE the folder has been deleted"], reader.heard()
        )


class SearchTests(SynchronousTestCase):
    """
    Tests for SEARCH as a command; its keys are tested in L{tests.front.imap.test_search}.
    """

    def setUp(self) -> None:
        self.world = World()
        self.mailbox = self.world.mailbox
        self.mailbox.receive()
        self.mailbox.receive("Subject: Grüße\r\n\r\n".encode())
        self.client = self.world.enter()

    def test_found(self) -> None:
        """
        Numbers, or UIDs; none is an answer too.
        """
        self.mailbox.vanish(1)
        self.client.say("a NOOP")
        self.assertEqual(["* SEARCH 1", "a OK That is all."], self.client.say("a SEARCH ALL"))
        self.assertEqual(["* SEARCH 2", "a OK That is all."], self.client.say("a UID SEARCH 1:*"))
        self.assertEqual(["* SEARCH", "a OK That is all."], self.client.say("a SEARCH DELETED"))

    def test_literals_and_charset(self) -> None:
        """
        Text comes as a literal, in UTF-8; another charset is refused by its code, and the connection goes on.
        """
        self.client.send("a SEARCH CHARSET UTF-8 SUBJECT {7+}\r\nGRÜSSE\r\n".encode())
        self.assertEqual(["* SEARCH 2", "a OK That is all."], self.client.heard())
        for charset in ("KOI8-R", '"x"'):
            self.assertEqual(
                ["a NO [BADCHARSET (US-ASCII UTF-8)] That charset is not known.", "b OK Nothing done."],
                self.client.say(f"a SEARCH CHARSET {charset} ALL", "b NOOP"),
            )

    def test_unavailable(self) -> None:
        """
        What cannot be looked into is said; the rest is found.
        """
        self.mailbox.lost.add(SIMPLE)
        self.assertEqual(
            ["* SEARCH 2", "a NO [UNAVAILABLE] 1 messages cannot be looked into now."],
            self.client.say("a SEARCH TEXT g"),
        )
        self.assertEqual(["* SEARCH 1 2", "b OK That is all."], self.client.say("b SEARCH UNSEEN"))
