"""
What a front-end sees of a person's mail, and of the service that takes mail.

State (folders, entries, flags) is in memory and read without waiting; everything that changes it, or reads a message's
bytes, is a coroutine.  Names of folders are C{str} (never modified UTF-7), the separator is C{"/"}, "INBOX" is always
spelled so.
"""

from __future__ import annotations

import mmap
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from zope.interface import Attribute, Interface

from post.errors import PostError
from post.mail.journeys import Journey
from post.mail.mime import MimePart

Octets = bytes | mmap.mmap
"""A whole message as it came: in memory if small, a mapped temporary file if large."""

SEPARATOR = "/"


class NoSuchFolder(PostError):
    """
    The named folder does not exist (IMAP C{NO [TRYCREATE]} or C{[NONEXISTENT]}).
    """


class FolderExists(PostError):
    """
    The named folder exists already (IMAP C{NO [ALREADYEXISTS]}).
    """


class FolderRefused(PostError):
    """
    That cannot be done to this folder, such as deleting INBOX (IMAP C{NO [CANNOT]}).
    """


class MessageTooLarge(PostError):
    """
    The message is over the limit (IMAP C{NO [TOOBIG]}, SMTP 552).
    """


class MessageUnavailable(PostError):
    """
    The blocks of this message cannot be fetched now (IMAP C{NO [UNAVAILABLE]}).
    """


@dataclass(frozen=True, slots=True)
class Entry:
    """
    One message in one folder.  C{flags} are system flags (C{\\Seen}) and keywords as spelled; C{size} is RFC822.SIZE in
    octets; C{modseq} rises with every change of this entry.
    """

    uid: int
    flags: frozenset[str]
    internal_date: datetime
    size: int
    modseq: int
    key: bytes
    """16 bytes naming the entry in the mailbox log."""


@dataclass(frozen=True, slots=True)
class FolderStatus:
    """
    A folder as LIST and STATUS show it.  C{special_use} is such as C{\\Sent}, or empty.
    """

    name: str
    special_use: str
    subscribed: bool
    uid_validity: int
    uid_next: int
    messages: int
    unseen: int
    size: int
    modseq: int


@dataclass(frozen=True, slots=True)
class Copied:
    """
    What COPYUID tells: the UIDs copied, in order, and those they got.
    """

    uid_validity: int
    source: tuple[int, ...]
    target: tuple[int, ...]


class IContent(Interface):
    """
    The bytes of a message, wherever they are.
    """

    size: int = Attribute("Octets of the whole message.")

    async def read(start: int, stop: int) -> bytes:
        """
        The octets C{start:stop}; ask for at most 256 KiB at a time.

        @raise MessageUnavailable: if they cannot be had now.
        """

    async def structure() -> MimePart:
        """
        The MIME tree, with offsets into the whole message.
        """


class IFolderListener(Interface):
    """
    What an IMAP session gives to a folder.
    """

    def changed() -> None:
        """
        Entries came, went or changed.  Called soon after, never from inside a call into the folder.
        """

    def deleted() -> None:
        """
        The folder is gone.
        """


class IFolder(Interface):
    """
    A folder, open for a session.  It stays usable after a rename.
    """

    name: str = Attribute("Its present name.")
    uid_validity: int = Attribute("As RFC 3501, 2.3.1.1.")
    uid_next: int = Attribute("The next UID.")

    def entries() -> Sequence[Entry]:
        """
        By rising UID.  A snapshot that does not change under the caller.
        """

    def entry(uid: int) -> Entry | None:
        """
        The entry with this UID now.
        """

    def content(uid: int) -> IContent:
        """
        The bytes of a message.

        @raise MessageUnavailable: if there is no such UID (any more).
        """

    async def store(uids: Sequence[int], add: frozenset[str], remove: frozenset[str]) -> None:
        """
        Add and remove flags; UIDs that are gone are passed over.  Answered when locally durable.
        """

    async def replace(uids: Sequence[int], flags: frozenset[str]) -> None:
        """
        Set exactly C{flags} (C{$Verified} and other flags of the server stay as they are).
        """

    async def expunge(uids: Sequence[int]) -> None:
        """
        Remove these entries for good.
        """

    async def copy(uids: Sequence[int], target: str) -> Copied:
        """
        @raise NoSuchFolder: if there is no folder C{target}.
        """

    async def move(uids: Sequence[int], target: str) -> Copied:
        """
        Atomically.

        @raise NoSuchFolder: if there is no folder C{target}.
        """

    def listen(listener: IFolderListener) -> None:
        """
        Tell C{listener} of changes from now on.
        """

    def unlisten(listener: IFolderListener) -> None:
        """
        No longer.
        """


class IMailbox(Interface):
    """
    All of one account's folders.
    """

    address: str = Attribute("The account's full mail address.")

    def folders() -> Sequence[FolderStatus]:
        """
        All, INBOX first, then by name.
        """

    def folder(name: str) -> IFolder:
        """
        @raise NoSuchFolder: if there is none of that name (INBOX in any case of letters).
        """

    async def create(name: str, special_use: str = "") -> None:
        """
        With the parents that are missing.

        @raise FolderExists: if it exists.
        @raise FolderRefused: for a name that no folder can have.
        """

    async def delete(name: str) -> None:
        """
        @raise NoSuchFolder: if there is none.
        @raise FolderRefused: for INBOX, and for a folder with inferiors.
        """

    async def rename(old: str, new: str) -> None:
        """
        With its inferiors.  Renaming INBOX moves its messages to a new folder (RFC 3501, 6.3.5).

        @raise NoSuchFolder, FolderExists, FolderRefused: as above.
        """

    async def subscribe(name: str, subscribed: bool) -> None:
        """
        Set whether LSUB shows C{name}.

        @raise NoSuchFolder: if there is none.
        """

    async def append(
        name: str, message: Octets, flags: frozenset[str], internal_date: datetime | None
    ) -> tuple[int, int]:
        """
        File a message; returns (uid_validity, uid) once it is on the policy's number of nodes.

        @raise NoSuchFolder: if there is none.
        @raise MessageTooLarge: if it is over the limit.
        @raise TooFewReplicas: if the ring cannot keep it now; nothing is filed.
        """

    async def adopt(
        name: str,
        key: bytes,
        message: Octets,
        flags: frozenset[str],
        internal_date: datetime,
        turn: Callable[[], Awaitable[None]],
    ) -> bool:
        """
        File a message that comes from another mailbox, once for each C{key} (16 bytes that name it there).

        Returns once it is on the policy's number of nodes: C{True} if it is filed now, C{False} if it was filed before,
        also if it has been deleted since.  When its octets are stored, C{turn} is awaited before it is filed: many can
        be stored at once, and get UIDs in their order.

        @raise NoSuchFolder: if there is none.
        @raise FolderRefused: if there are too many flags.
        @raise MessageTooLarge: if it is over the limit.
        @raise TooFewReplicas: if the ring cannot keep it now.
        """


class RecipientUnknown(PostError):
    """
    The directory says that there is no such name in our domain (SMTP 550 5.1.1).
    """


class RecipientOutside(PostError):
    """
    The address is of another domain and no gateway serves us (SMTP 550 5.7.1).
    """


class PostingRefused(PostError):
    """
    Only those whom its maintainer lets may write to this mailing list (SMTP 550 5.7.1).
    """


class PuzzleTooHard(PostError):
    """
    Whom it is for demand more work of strangers than is done for one message (POST, section 4.5).
    """


class ListTooLarge(PostError):
    """
    Lists within lists, or members, are too many for one message (SMTP 550 5.5.3).
    """


class SenderRefused(PostError):
    """
    The envelope sender, or From, is somebody else's than the account's that submits (SMTP 550 5.7.1).
    """


class AuthorRefused(SenderRefused):
    """
    From names somebody else, or others too, in mail to another domain (SMTP 550).
    """


class SenderRevoked(SenderRefused):
    """
    The account that submits has been revoked: nobody would believe what it signs (SMTP 550 5.7.1).
    """


class DirectoryUnavailable(PostError):
    """
    Whether that name exists cannot be known now (SMTP 450 4.3.0).
    """


class ISubmission(Interface):
    """
    Takes mail from an authenticated user (POST, section 4.3).  The simulator drives the same object.
    """

    size_limit: int = Attribute("Octets of the largest message taken.")

    def check_sender(address: str) -> None:
        """
        C{address} without angle brackets, "" for the null sender.

        @raise SenderRefused: if this account may not send as C{address}.
        """

    async def check_recipient(address: str) -> None:
        """
        @raise RecipientUnknown, RecipientOutside, DirectoryUnavailable, PostingRefused, ListTooLarge: as they say.
        """

    async def submit(sender: str, recipients: Sequence[str], message: Octets, trace: bytes) -> str:
        """
        Take the message for all recipients.  Returning (a short id for the reply's text) means promise 1: it survives
        the loss of this machine.  C{trace} are header lines (a Received field, CRLF included) to be prepended; they do
        not count in the message's identity, so that a retry of the same message is the same notification.

        @raise TooFewReplicas, Unreachable, Overloaded: try again later (451); nothing will be doubled by that.
        @raise MessageTooLarge: if it is over the limit.
        @raise SenderRefused: if From is somebody else of the domain.
        """

    def sent() -> Sequence[Journey]:
        """
        Where the messages stand that were sent lately or still wait, the newest first.  Of what was delivered, the
        reference of the message is empty if it is in Sent no longer.
        """


class IInbound(Interface):
    """
    Takes mail that a gateway has examined, for everybody in the domain (POST, section 5).
    """

    domain: str = Attribute("The mail domain.")
    size_limit: int = Attribute("Octets of the largest message taken.")

    async def check_recipient(address: str) -> None:
        """
        @raise RecipientUnknown, RecipientOutside, DirectoryUnavailable: as they say.
        """

    async def accept(sender: str, recipients: Sequence[str], message: Octets, trace: bytes, junk: bool) -> str:
        """
        Take the message for all recipients, as L{ISubmission.submit}; C{sender} is the envelope's, whoever that is, and
        "" for the null sender.  C{trace} are the lines that the gateway prepends, which do not count in the message's
        identity.  C{junk} advises the recipients' nodes to file it apart.

        @raise TooFewReplicas, Unreachable, Overloaded: try again later (451); nothing will be doubled by that.
        @raise MessageTooLarge: if it is over the limit.
        """


class IMailAccounts(Interface):
    """
    The accounts that live on this node, for the front-ends' log-in.
    """

    async def authenticate(login: str, password: bytes) -> str:
        """
        The full address of the account whose full address or local part is C{login}.

        @raise Refused: if the name or the password is wrong (which of them is not told).
        """

    def mailbox(address: str) -> IMailbox:
        """
        @raise NotFound: if the account is not on this node.
        """

    def submission(address: str) -> ISubmission:
        """
        @raise NotFound: if the account is not on this node.
        """
