"""
Tests for L{tests.front.imap.doubles}: that what the other tests talk to is what it pretends to be.
"""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from post.mail.interfaces import IContent, IFolder, IFolderListener, IMailAccounts, IMailbox
from tests.front.imap.doubles import SIMPLE, FakeAccounts, FakeMailbox, World


class DoublesTests(SynchronousTestCase):
    """
    Tests for the mailbox in memory.
    """

    def test_interfaces(self) -> None:
        """
        Each fake has all that its interface asks for, and so has the session that listens.
        """
        mailbox = FakeMailbox(Clock())
        uid = mailbox.receive()
        folder = mailbox.folder("inbox")
        self.assertTrue(verifyObject(IMailbox, mailbox))
        self.assertTrue(verifyObject(IFolder, folder))
        self.assertTrue(verifyObject(IContent, folder.content(uid)))
        self.assertTrue(verifyObject(IMailAccounts, FakeAccounts(mailbox)))
        self.assertTrue(verifyObject(IFolderListener, World().enter().protocol))

    def test_content(self) -> None:
        """
        A message received is read as it came.
        """
        mailbox = FakeMailbox(Clock())
        content = mailbox.folder("INBOX").content(mailbox.receive())
        self.assertEqual(SIMPLE, self.successResultOf(content.read(0, content.size)))
