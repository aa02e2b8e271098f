"""
Tests for L{post.front.imap.folders}, L{post.front.imap.listing} and L{post.front.imap.commands}, as transcripts.
"""

from __future__ import annotations

from datetime import UTC, datetime

from twisted.trial.unittest import SynchronousTestCase

from tests.front.imap.doubles import NOON, SIZE_LIMIT, World


class FolderTests(SynchronousTestCase):
    """
    Tests for commands about folders.
    """

    def setUp(self) -> None:
        self.world = World()
        self.mailbox = self.world.mailbox
        self.client = self.world.enter("")

    def names(self) -> list[str]:
        """
        All folders that there are.
        """
        return [folder.name for folder in self.mailbox.folders()]

    def test_any_state(self) -> None:
        """
        CAPABILITY, ID, ENABLE and NAMESPACE answer what they should, and are BAD where they are misspelled.
        """
        said = self.client.say("a ID NIL", 'b ID ("name" "x" "os" NIL)', "c ENABLE UTF8=ACCEPT X-FOO", "d NAMESPACE")
        self.assertRegex(said[0], r'\* ID \("name" "POST" "version" "[0-9.a-z]+"\)')
        self.assertEqual(
            ["* ENABLED", "c OK Nothing of that needs to be.", '* NAMESPACE (("" "/")) NIL NIL', "d OK That is all."],
            said[4:],
        )
        for line in (
            "ID",
            "ID (name x)",
            'ID ("a")',
            "ID (" + " ".join(['"a" "b"'] * 31) + ")",
            "ENABLE (",
            "NAMESPACE x",
        ):
            self.assertIn("a BAD", self.client.last(f"a {line}"))

    def test_select(self) -> None:
        """
        SELECT says all that RFC 3501, 6.3.1 wants, in any spelling of INBOX.
        """
        self.mailbox.receive(b"x\r\n\r\n", "\\Seen", "$Label1")
        self.mailbox.receive()
        self.assertEqual(
            [
                "* FLAGS ($Label1 \\Answered \\Deleted \\Draft \\Flagged \\Seen)",
                "* OK [PERMANENTFLAGS ($Label1 \\Answered \\Deleted \\Draft \\Flagged \\Seen \\*)] These last.",
                "* 2 EXISTS",
                "* 0 RECENT",
                "* OK [UNSEEN 2] The first unseen.",
                "* OK [UIDVALIDITY 71] UIDs are valid.",
                "* OK [UIDNEXT 3] The next UID.",
                "a OK [READ-WRITE] Selected.",
            ],
            self.client.say("a SELECT iNbOx"),
        )

    def test_examine(self) -> None:
        """
        An examined folder cannot be changed, by nothing.
        """
        self.mailbox.receive(b"x\r\n\r\n", "\\Deleted")
        said = self.client.say("a EXAMINE INBOX")
        self.assertEqual(["* OK [PERMANENTFLAGS ()] These last.", "a OK [READ-ONLY] Selected."], [said[1], said[-1]])
        for line in ("STORE 1 +FLAGS (\\Seen)", "EXPUNGE", "UID EXPUNGE 1", "MOVE 1 Sent", "UID MOVE 1 Sent"):
            self.assertEqual(["a NO [CANNOT] The folder is open for reading only."], self.client.say(f"a {line}"))
        self.client.say("a FETCH 1 BODY[]", "b CLOSE")
        self.assertEqual({"\\Deleted"}, self.mailbox.flags(1))

    def test_select_of_nothing(self) -> None:
        """
        A SELECT that fails leaves no folder selected.
        """
        said = self.client.say("a SELECT INBOX", "b SELECT Nowhere", "c CHECK")
        self.assertEqual(["b NO [NONEXISTENT] There is no such folder.", "c BAD select a folder first"], said[-2:])

    def test_close_and_unselect(self) -> None:
        """
        CLOSE removes what is deleted without a word, UNSELECT does not.
        """
        self.mailbox.receive(b"x\r\n\r\n", "\\Deleted")
        self.assertEqual("b OK Closed.", self.client.last("a SELECT INBOX", "b UNSELECT"))
        self.assertEqual(1, self.mailbox.folders()[0].messages)
        self.assertEqual(["b OK Closed."], self.client.say("a SELECT INBOX", "b CLOSE")[-1:])
        self.assertEqual(0, self.mailbox.folders()[0].messages)

    def test_list(self) -> None:
        """
        LIST shows children and special uses unasked.
        """
        self.client.say("a CREATE Work/2026/")
        self.assertEqual(
            [
                '* LIST (\\HasNoChildren) "/" "INBOX"',
                '* LIST (\\HasNoChildren \\Sent) "/" "Sent"',
                '* LIST (\\HasNoChildren \\Trash) "/" "Trash"',
                '* LIST (\\HasChildren) "/" "Work"',
                "a OK That is all.",
            ],
            self.client.say('a LIST "" %'),
        )
        self.assertEqual('* LIST (\\HasNoChildren) "/" "Work/2026"', self.client.say('a LIST "Work/" *')[0])
        self.assertEqual(['* LIST (\\Noselect) "/" ""', "a OK That is all."], self.client.say('a LIST "" ""'))
        self.assertEqual('* LIST (\\HasNoChildren) "/" "INBOX"', self.client.say("a LIST {0+}\r\n inb%")[0])

    def test_list_that_would_explode(self) -> None:
        """
        A pattern of wildcards alone is as good as any; patterns of absurd length are not.
        """
        self.assertEqual(4, len(self.client.say('a LIST "" "' + "*%" * 400 + '"')))
        self.assertIn("a BAD", self.client.last('a LIST "" "' + "*%" * 600 + '"'))
        self.assertIn("a BAD", self.client.last('a LIST "" (' + " ".join(["x" * 99] * 11) + ")"))

    def test_list_extended(self) -> None:
        """
        Several patterns, choices, and STATUS behind each folder (RFC 5258, 5819, 6154).
        """
        self.assertEqual(
            [
                '* LIST (\\HasNoChildren) "/" "INBOX"',
                '* STATUS "INBOX" (MESSAGES 0 UNSEEN 0)',
                '* LIST (\\HasNoChildren \\Trash) "/" "Trash"',
                '* STATUS "Trash" (MESSAGES 0 UNSEEN 0)',
                "a OK That is all.",
            ],
            self.client.say('a LIST "" ("INBOX" "T*") RETURN (SPECIAL-USE STATUS (MESSAGES UNSEEN))'),
        )
        self.client.say("a UNSUBSCRIBE INBOX", "a UNSUBSCRIBE Trash")
        self.assertEqual(
            ['* LIST (\\HasNoChildren \\Sent \\Subscribed) "/" "Sent"', "a OK That is all."],
            self.client.say('a LIST (SUBSCRIBED) "" "*"'),
        )
        self.assertEqual(3, len(self.client.say('a LIST (SPECIAL-USE) "" "*" RETURN (CHILDREN)')))

    def test_recursive_match(self) -> None:
        """
        With RECURSIVEMATCH a parent is shown for what is subscribed in it (RFC 5258, 3.5); alone it is nothing.
        """
        self.client.say(
            "a CREATE foo/bar", "a UNSUBSCRIBE foo", *(f"a UNSUBSCRIBE {n}" for n in ("INBOX", "Sent", "Trash"))
        )
        self.assertEqual(
            ['* LIST (\\HasChildren) "/" "foo" ("CHILDINFO" ("SUBSCRIBED"))', "a OK That is all."],
            self.client.say('a LIST (SUBSCRIBED RECURSIVEMATCH) "" "%"'),
        )
        self.assertEqual(
            ['* LIST (\\HasNoChildren \\Subscribed) "/" "foo/bar"', "a OK That is all."],
            self.client.say('a LIST (SUBSCRIBED RECURSIVEMATCH) "" "*"'),
        )
        self.assertEqual(["a BAD RECURSIVEMATCH of what?"], self.client.say('a LIST (RECURSIVEMATCH) "" "*"'))

    def test_lsub(self) -> None:
        """
        LSUB shows what is subscribed, and for C{%} a level that is not but has subscribed folders in it.
        """
        self.client.say("a CREATE foo/bar", "a UNSUBSCRIBE foo", "a UNSUBSCRIBE Trash")
        self.assertEqual(
            [
                '* LSUB (\\HasNoChildren) "/" "INBOX"',
                '* LSUB (\\HasNoChildren \\Sent) "/" "Sent"',
                '* LSUB (\\Noselect) "/" "foo"',
                "a OK That is all.",
            ],
            self.client.say('a LSUB "" "%"'),
        )
        self.assertEqual('* LSUB (\\HasNoChildren) "/" "foo/bar"', self.client.say('a LSUB "" "foo*"')[0])
        self.assertEqual(["a NO [NONEXISTENT] There is no such folder."], self.client.say("a SUBSCRIBE Nowhere"))
        self.assertEqual(["a OK Subscribed."], self.client.say("a SUBSCRIBE foo"))

    def test_create(self) -> None:
        """
        CREATE makes parents, and refuses what exists, or what no folder can be called.
        """
        self.assertEqual(["a OK Created."], self.client.say("a CREATE a/b/c"))
        self.assertEqual(["INBOX", "Sent", "Trash", "a", "a/b", "a/b/c"], self.names())
        self.assertEqual(
            ["a NO [ALREADYEXISTS] There is a folder of that name already."], self.client.say("a CREATE inbox")
        )
        self.assertEqual(["a NO [CANNOT] That cannot be done to this folder."], self.client.say("a CREATE x//y"))
        self.assertEqual(["a BAD a name that is not modified UTF-7"], self.client.say("a CREATE &"))

    def test_special_use(self) -> None:
        """
        A use is given once; one that is taken or not known is refused by its code (RFC 6154).
        """
        self.assertEqual(["a OK Created."], self.client.say("a CREATE Entw&APw-rfe (USE (\\dRAFTS))"))
        self.assertIn('* LIST (\\HasNoChildren \\Drafts) "/" "Entw&APw-rfe"', self.client.say('a LIST "" *'))
        for use in ("\\Drafts", "\\Sent", "\\All"):
            said = self.client.say(f"a CREATE x (USE ({use}))")
            self.assertEqual(["a NO [USEATTR] No folder can be given that use now."], said)

    def test_delete(self) -> None:
        """
        DELETE of the selected folder leaves none selected; INBOX, and folders with others in them, stay selected.
        """
        self.client.say("a CREATE x", "a CREATE y/z", "a SELECT x")
        self.assertEqual(["b OK Deleted.", "c BAD select a folder first"], self.client.say("b DELETE x", "c CHECK"))
        self.client.say("a SELECT y")
        self.assertEqual(
            ["b NO [CANNOT] That cannot be done to this folder.", "c OK Nothing done."],
            self.client.say("b DELETE y", "c CHECK"),
        )
        self.assertEqual(1, len(self.mailbox.named("y").listeners))
        self.assertIn("a NO [CANNOT]", self.client.last("a DELETE inbox"))
        self.assertIn("a NO [NONEXISTENT]", self.client.last("a DELETE x"))

    def test_rename(self) -> None:
        """
        RENAME takes inferiors along; the messages of a renamed INBOX move.
        """
        self.mailbox.receive()
        self.client.say("a CREATE a/b", "a SELECT a")
        self.assertEqual(["a OK Renamed.", "b OK Nothing done."], self.client.say("a RENAME a c", "b CHECK"))
        self.assertEqual(["a OK Renamed."], self.client.say("a RENAME INBOX Old"))
        self.assertEqual(["INBOX", "Old", "Sent", "Trash", "c", "c/b"], self.names())
        self.assertEqual([0, 1], [folder.messages for folder in self.mailbox.folders()[:2]])
        self.assertIn("a NO [ALREADYEXISTS]", self.client.last("a RENAME c Sent"))
        self.assertIn("a NO [NONEXISTENT]", self.client.last("a RENAME nowhere x"))

    def test_rename_of_selected_inbox(self) -> None:
        """
        Who has INBOX selected is told at once that its messages have gone.
        """
        self.mailbox.receive()
        self.client.say("a SELECT INBOX")
        self.client.protocol.dataReceived(b"b RENAME INBOX Old\r\n")
        self.assertEqual(["* 1 EXPUNGE", "b OK Renamed."], self.client.heard())

    def test_status(self) -> None:
        """
        STATUS says what is asked, in the order asked, of INBOX in any spelling.
        """
        self.mailbox.receive(b"12345")
        self.assertEqual(
            [
                '* STATUS "INBOX" (UIDNEXT 2 MESSAGES 1 UNSEEN 1 RECENT 0 UIDVALIDITY 71 SIZE 5)',
                "a OK That is all.",
            ],
            self.client.say("a STATUS inbox (UIDNEXT MESSAGES UNSEEN RECENT UIDVALIDITY SIZE)"),
        )
        self.assertEqual(["a NO [NONEXISTENT] There is no such folder."], self.client.say("a STATUS x (MESSAGES)"))
        self.assertIn("a BAD", self.client.last("a STATUS INBOX ()"))
        self.assertIn("a BAD", self.client.last("a STATUS INBOX (FOO)"))


class AppendTests(SynchronousTestCase):
    """
    Tests for APPEND.
    """

    def setUp(self) -> None:
        self.world = World()
        self.mailbox = self.world.mailbox
        self.client = self.world.enter()

    def test_append(self) -> None:
        """
        A message is asked for, filed with flags and date as given, and told to who has the folder open.
        """
        self.assertEqual(
            ["+ go on"], self.client.say('a APPEND INBOX (\\seen $Label1) " 1-Feb-2026 12:00:00 +0100" {5}')
        )
        self.client.send(b"a\r\nb\xff\r\n")
        self.assertEqual(["* 1 EXISTS", "* 0 RECENT", "a OK [APPENDUID 71 1] Kept by the ring."], self.client.heard())
        entry = self.mailbox.named("INBOX").entries[1]
        self.assertEqual({"\\Seen", "$Label1"}, entry.flags)
        self.assertEqual(datetime(2026, 2, 1, 11, 0, tzinfo=UTC), entry.internal_date)
        self.assertEqual(b"a\r\nb\xff", self.mailbox.named("INBOX").messages[1])

    def test_without_flags(self) -> None:
        """
        Flags and date may be left out, each or both; \\Recent cannot be set.
        """
        for given in ("", "() ", "(\\Recent) ", '" 4-Mar-2026 12:00:00 +0000" '):
            self.assertIn("a OK [APPENDUID", self.client.last(f"a APPEND Sent {given}{{1+}}\r\nx"))
        found = [(entry.flags, entry.internal_date) for entry in self.mailbox.named("Sent").entries.values()]
        self.assertEqual([(frozenset(), NOON)] * 4, found)

    def test_nowhere(self) -> None:
        """
        A folder that is missing may be made, and the client is told so.
        """
        self.assertEqual(["a NO [TRYCREATE] There is no such folder."], self.client.say("a APPEND Nowhere {1+}\r\nx"))

    def test_too_big(self) -> None:
        """
        The limit itself is taken; a message over it is refused before it is sent.
        """
        self.client.send(b"a APPEND Sent {%d+}\r\n" % SIZE_LIMIT + b"x" * SIZE_LIMIT + b"\r\n")
        self.assertEqual(["a OK [APPENDUID 72 1] Kept by the ring."], self.client.heard())
        self.assertEqual(
            ["b NO [TOOBIG] That is more than is taken."], self.client.say(f"b APPEND Sent {{{SIZE_LIMIT + 1}}}")
        )

    def test_ring_is_away(self) -> None:
        """
        What the ring cannot keep is not OK.
        """
        self.mailbox.full = True
        self.assertEqual(
            ["a NO [UNAVAILABLE] Too few other machines answer to keep it safely; try again in a moment."],
            self.client.say("a APPEND Sent {1+}\r\nx"),
        )

    def test_wrong(self) -> None:
        """
        A message is a literal, a date is one, and a flag that there is none of is refused; nothing is filed.
        """
        for line in (
            'Sent "x"',
            'Sent "31-Feb-2026 12:00:00 +0000" {1+}\r\nx',
            'Sent "01-Jan-0001 00:00:00 +1400" {1+}\r\nx',
            "Sent (\\Foo) {1+}\r\nx",
            "Sent {1+}\r\nx y",
            "Sent {1+}\r\n\0",
        ):
            self.assertIn("a BAD", self.client.last(f"a APPEND {line}"))
        self.assertEqual({}, self.mailbox.named("Sent").entries)
