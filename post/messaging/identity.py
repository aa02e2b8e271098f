"""
The identity block (POST, section 3.1): who somebody is, where their trusted node is, and to which keys to seal.

It is an xCard (RFC 6351) with elements of our own namespace for the contact and the sealing keys, kept as a
public-key block under a handle that follows from the account id; the identity certificate inside lets every holder
verify who may write it.  The XML comes from other people: its size is bounded, and markup declarations are refused
before a parser sees them, so there are no entities to expand.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode
from dataclasses import dataclass
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

from post.crypto.certificates import IdentityCertificate
from post.errors import PeerError
from post.ids import Contact, Id, NodeId

XCARD = "urn:ietf:params:xml:ns:vcard-4.0"
OURS = "urn:post:identity:1"

SIZE_LIMIT = 32 * 1024
"""Octets of XML in an identity block: a few keys of 1.2 KB and a little text."""
KEYS_LIMIT = 8
KEY_ID_BYTES = 8
ADDRESSES_LIMIT = 4
LISTS_LIMIT = 16
"""Mailing lists of one maintainer: each takes some 400 octets of the block."""
REFERENCE_LIMIT = 512


class Lapsed(PeerError):
    """
    Somebody has been away for so long that their certificate, or all of their sealing keys, have run out.
    """


@dataclass(frozen=True)
class PublishedKey:
    """
    A sealing key that its owner publishes: where notifications may be sealed to until C{expires} (unix seconds).
    """

    key_id: bytes
    public: bytes
    expires: int


@dataclass(frozen=True)
class Public:
    """
    What somebody shows beside who and where they are; of metadata only such references as are public (POST, section
    3.1).  C{block_list} is the packed reference of a block list that others may use, or empty; C{lists} has those of
    the mailing lists that they maintain, by address.  C{puzzle_bits} is how hard a puzzle strangers have to solve.
    """

    block_list: bytes = b""
    lists: tuple[tuple[str, bytes], ...] = ()
    puzzle_bits: int = 0


@dataclass(frozen=True)
class Card:
    """
    What an identity block says; C{block_list} and C{lists} as in L{Public}.
    """

    name: str
    address: str
    contact: Contact
    keys: tuple[PublishedKey, ...]
    puzzle_bits: int = 0
    block_list: bytes = b""
    lists: tuple[tuple[str, bytes], ...] = ()

    def list_named(self, address: str) -> bytes | None:
        """
        The packed reference of the mailing list with this address, if it is one of theirs.
        """
        return dict(self.lists).get(address)


@dataclass(frozen=True)
class Identity:
    """
    A card and the certificate under which it was published.
    """

    certificate: IdentityCertificate
    card: Card
    number: int
    """The version of the block it came in."""

    def sealing_key(self, now: float) -> PublishedKey:
        """
        The key to seal to: the one that lives longest.

        @raise Lapsed: if every key has expired.
        """
        living = [key for key in self.card.keys if key.expires > now]
        if not living:
            raise Lapsed(f"{self.certificate.address} has no sealing key that is still good")
        return max(living, key=lambda key: key.expires)


def render(card: Card) -> bytes:
    """
    The XML of a card.
    """
    ElementTree.register_namespace("", XCARD)
    ElementTree.register_namespace("post", OURS)
    root = Element(f"{{{XCARD}}}vcards")
    vcard = SubElement(root, f"{{{XCARD}}}vcard")
    _text(SubElement(vcard, f"{{{XCARD}}}fn"), card.name)
    _text(SubElement(vcard, f"{{{XCARD}}}email"), card.address)
    contact = SubElement(vcard, f"{{{OURS}}}contact", {"node": card.contact.id.hex(), "epoch": str(card.contact.epoch)})
    for address in card.contact.addresses:
        SubElement(contact, f"{{{OURS}}}address").text = address
    for key in card.keys:
        attributes = {"id": key.key_id.hex(), "expires": str(key.expires)}
        SubElement(vcard, f"{{{OURS}}}sealing-key", attributes).text = b64encode(key.public).decode()
    SubElement(vcard, f"{{{OURS}}}puzzle", {"bits": str(card.puzzle_bits)})
    if card.block_list:
        SubElement(vcard, f"{{{OURS}}}block-list").text = b64encode(card.block_list).decode()
    for address, reference in card.lists:
        SubElement(vcard, f"{{{OURS}}}mailing-list", {"address": address}).text = b64encode(reference).decode()
    return bytes(ElementTree.tostring(root, encoding="utf-8"))


def _text(parent: Element, text: str) -> None:
    SubElement(parent, f"{{{XCARD}}}text").text = text


def parse(data: bytes) -> Card:
    """
    The card in C{data}.

    @raise PeerError: if it is none.
    """
    if len(data) > SIZE_LIMIT:
        raise PeerError(f"an identity of {len(data)} octets")
    if b"<!" in data or b"\0" in data:
        raise PeerError("an identity with markup declarations")
    try:
        vcard = ElementTree.fromstring(data).find(f"{{{XCARD}}}vcard")
        if vcard is None:
            raise PeerError("no vcard")
        return Card(
            _find_text(vcard, "fn"),
            _find_text(vcard, "email"),
            _contact(vcard.find(f"{{{OURS}}}contact")),
            tuple(_key(key) for key in vcard.findall(f"{{{OURS}}}sealing-key")[:KEYS_LIMIT]),
            _puzzle(vcard.find(f"{{{OURS}}}puzzle")),
            _reference(vcard.findtext(f"{{{OURS}}}block-list") or ""),
            tuple(_list(element) for element in vcard.findall(f"{{{OURS}}}mailing-list")[:LISTS_LIMIT]),
        )
    except (ElementTree.ParseError, ValueError, LookupError, binascii.Error) as error:
        raise PeerError(f"no identity: {error}") from None


def _find_text(vcard: Element, name: str) -> str:
    return (vcard.findtext(f"{{{XCARD}}}{name}/{{{XCARD}}}text") or "")[:320]


def _contact(element: Element | None) -> Contact:
    if element is None:
        raise PeerError("no contact")
    addresses = [address.text or "" for address in element.findall(f"{{{OURS}}}address")]
    if len(addresses) > ADDRESSES_LIMIT or any(len(address) > 80 for address in addresses):
        raise PeerError("a contact with too much in it")
    epoch = int(element.get("epoch", "0"))
    if not 0 <= epoch < 1 << 62:
        raise PeerError("a contact of no epoch")
    return Contact(NodeId(Id.from_hex(element.get("node", ""))), tuple(addresses), epoch)


def _key(element: Element) -> PublishedKey:
    public = b64decode(element.text or "", validate=True)
    key_id, expires = bytes.fromhex(element.get("id", "")), int(element.get("expires", "0"))
    if len(public) > 2048 or len(key_id) != KEY_ID_BYTES or not 0 <= expires < 1 << 62:
        raise PeerError("a key of no known form")
    return PublishedKey(key_id, public, expires)


def _puzzle(element: Element | None) -> int:
    bits = int(element.get("bits", "0")) if element is not None else 0
    if not 0 <= bits <= 64:
        raise PeerError("a puzzle of no difficulty")
    return bits


def _reference(text: str) -> bytes:
    reference = b64decode(text, validate=True)
    if len(reference) > REFERENCE_LIMIT:
        raise PeerError("a reference of no known form")
    return reference


def _list(element: Element) -> tuple[str, bytes]:
    return element.get("address", "")[:320], _reference(element.text or "")
