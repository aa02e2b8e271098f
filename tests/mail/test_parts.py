"""
Tests for L{post.mail.parts} and L{post.mail.mime}: cutting a message and reading it back, to the octet.
"""

from __future__ import annotations

from base64 import b64encode

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from post.crypto.convergent import conceal_private
from post.crypto.entropy import SeededEntropy
from post.errors import PeerError
from post.mail.mime import MimePart, scan, scan_skeleton, section
from post.mail.parts import (
    BASE64,
    CUT_BYTES,
    IDENTITY,
    Cutting,
    Recipe,
    Skeleton,
    StoredPart,
    cuttings,
    decoded,
    encode,
    encoded_length,
    fingerprint,
    read_skeleton,
    stored_range,
)
from post.wire import pack

REFERENCE = conceal_private(b"x", SeededEntropy(b"x"))[0]
DATA = bytes(range(256)) * 400


def lines(octets: bytes, width: int, end: bytes = b"\r\n") -> bytes:
    text = b64encode(octets)
    return end.join(text[at : at + width] for at in range(0, len(text), width))


def mail(body: bytes, encoding: bytes = b"base64", kind: bytes = b"application/pdf", tail: bytes = b"\r\n") -> bytes:
    return (
        b"From: a@example.org\r\nMessage-ID: <1@x>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n\r\nhello"
        b"\r\n--b\r\nContent-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n" + body + tail
    ) + b"--b--\r\n"


def cut(message: bytes) -> tuple[Skeleton, list[Cutting], list[bytes]]:
    """
    The skeleton of a message, its cuttings, and what would be stored of each.
    """
    found = [cutting for cutting in cuttings(message) if cutting is not None]
    literals, parts, stored, position = b"", [], [], 0
    for each in found:
        literals += message[position : each.start]
        position = each.stop
        stored.append(b"".join(piece or b"!" for piece in decoded(message, each.start, each.stop, each.recipe)))
        length = each.stop - each.start
        parts.append(StoredPart(len(literals), length, each.lines, each.recipe, each.length, REFERENCE))
    return Skeleton(1, literals + message[position:], tuple(parts)), found, stored


def joined(skeleton: Skeleton, stored: list[bytes]) -> bytes:
    out, position = b"", 0
    for part, octets in zip(skeleton.parts, stored, strict=True):
        out += skeleton.literals[position : part.position]
        position = part.position
        out += encode(part.recipe, part.stored, 0, part.length, octets)
    return out + skeleton.literals[position:]


fragments = st.sampled_from(
    [
        b"--b\r\n",
        b"--b--\r\n",
        b"--c\r\n",
        b"--c--\r\n",
        b"\r\n",
        b"text\r\n",
        b"Content-Type: multipart/mixed; boundary=c\r\n",
        b"Content-Type: multipart/digest; boundary=b\r\n",
        b"Content-Type: message/rfc822\r\n",
        b"Content-Transfer-Encoding: base64\r\n",
        b"Content-Type: application/zip\r\n",
        lines(DATA, 76) + b"\r\n",
        lines(DATA, 60) + b"\r\n\r\n",
        b"x" * (CUT_BYTES + 1),
        b"--",
        b"\n",
        b"Subject: \xff\r\n",
    ]
)
messages = st.lists(fragments, max_size=14).map(
    lambda each: b"Content-Type: multipart/mixed; boundary=b\r\n" + b"".join(each)
)


class CuttingTests(SynchronousTestCase):
    """
    Tests for cutting and joining.
    """

    def test_same_attachment_different_widths(self) -> None:
        """
        The same attachment in lines of different widths is stored as the same octets.
        """
        for width in (76, 72, 64, 60, 4):
            skeleton, found, stored = cut(mail(lines(DATA, width)))
            self.assertEqual([DATA], stored)
            self.assertEqual([(Recipe(BASE64, width), True)], [(each.recipe, each.shared) for each in found])
            self.assertEqual(mail(lines(DATA, width)), joined(skeleton, stored))

    def test_line_ends_behind(self) -> None:
        """
        However many line ends follow the last line of base64, the message comes back as it was.
        """
        for tail in (b"", b"\r\n", b"\r\n\r\n\r\n"):
            message = mail(lines(DATA, 76), tail=tail + b"\r\n")
            skeleton, _, stored = cut(message)
            self.assertEqual([DATA], stored)
            self.assertEqual(message, joined(skeleton, stored))

    def test_odd_base64(self) -> None:
        """
        Base64 that encoding again would not give is stored as it is.
        """
        good = lines(DATA, 76)
        odd = [
            good[:-9] + b"\r\n" + good[-9:],
            good.replace(b"\r\n", b" \r\n", 1),
            good.replace(b"\r\n", b"\n"),
            good[:5000] + b"=" + good[5001:],
            good[:-4] + b"QR==",
            b"-" + good[1:],
            good + b"\r\ntrailing",
        ]
        for body in odd:
            message = mail(body)
            skeleton, found, stored = cut(message)
            self.assertEqual([IDENTITY], [each.recipe.kind for each in found], body[-20:])
            self.assertEqual(message, joined(skeleton, stored))

    def test_text_is_private(self) -> None:
        """
        A long text is cut out, but not as something that others may share.
        """
        _, found, stored = cut(mail(b"line of text\r\n" * 8000, b"8bit", b"text/plain"))
        self.assertEqual([False], [each.shared for each in found])
        self.assertEqual([b"line of text\r\n" * 8000], [each + b"\r\n" for each in [stored[0].removesuffix(b"\r\n")]])

    def test_message_is_private(self) -> None:
        """
        Nor is a long message in the message, however it is encoded: somebody wrote it to somebody.
        """
        letter = b"Subject: to nobody else\r\n\r\n" + b"line of text\r\n" * 8000
        for body, encoding, kind in (
            (lines(letter, 76), b"base64", b"message/rfc822"),
            (letter, b"8bit", b"message/rfc822"),
            (lines(letter, 76), b"base64", b"Message/Partial"),
        ):
            _, found, _ = cut(mail(body, encoding, kind))
            self.assertEqual([False], [each.shared for each in found])

    def test_small_stays(self) -> None:
        """
        A message without large parts is its own skeleton.
        """
        message = mail(lines(b"small", 76))
        self.assertEqual((message, ()), (cut(message)[0].literals, cut(message)[0].parts))

    @settings(max_examples=60)
    @given(messages)
    def test_any_message(self, message: bytes) -> None:
        """
        Whatever it is made of: cut and joined it is the same, and the skeleton's tree is the message's.
        """
        skeleton, _, stored = cut(message)
        self.assertEqual(message, joined(skeleton, stored))
        self.assertEqual(len(message), skeleton.size)
        self.assertEqual(skeleton, read_skeleton(pack(skeleton)))
        self.assertEqual(tree(scan(message)), tree(scan_skeleton(skeleton.literals, skeleton.holes)))

    def test_found_by_chance(self) -> None:
        """
        The same of messages that were once cut or scanned wrongly.
        """
        long = lines(DATA, 76) + b"\r\n"
        nested = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        for message in (
            # A body that is cut out whole and does not end with a line end.
            b"Subject: x\r\n\r\n" + b"x" * (CUT_BYTES + 1),
            b"Subject: x\r\n\r\n" + b"x" * (CUT_BYTES + 1) + b"\n",
            nested + b"Content-Type: message/rfc822\r\n\r\n\r\n" + b"x" * (CUT_BYTES + 1),
            # An embedded message whose blank line is the line break of the next delimiter.
            nested + b"Content-Type: message/rfc822\r\n\r\n--b--\r\n" + long,
            # A multipart without parts, and what closes what is around it.
            nested + b"Content-Type: multipart/digest; boundary=b\r\n--b--\r\n" + long + b"--b--\r\n",
            # A header without end, and a blank line of either kind.
            b"Content-Type: multipart/mixed; boundary=b\r\n" + long * 2,
            b"Content-Type: multipart/mixed; boundary=b\r\n--b\r\n" + long + b"\n\r\n\n" + long,
        ):
            skeleton, _, stored = cut(message)
            self.assertEqual(message, joined(skeleton, stored))
            self.assertEqual(tree(scan(message)), tree(scan_skeleton(skeleton.literals, skeleton.holes)))

    @given(st.integers(1, 300), st.sampled_from([4, 60, 76]), st.data())
    def test_ranges(self, length: int, width: int, data: st.DataObject) -> None:
        """
        Any range of a base64 part can be made from the range of octets that it needs.
        """
        octets, recipe = DATA[:length], Recipe(BASE64, width)
        whole = lines(octets, width)
        self.assertEqual(len(whole), encoded_length(recipe, length))
        start = data.draw(st.integers(0, len(whole)))
        stop = data.draw(st.integers(start, len(whole)))
        if start < stop:
            first, last = stored_range(recipe, length, start, stop)
            self.assertEqual(whole[start:stop], encode(recipe, length, start, stop, octets[first:last]))

    def test_lying_skeleton(self) -> None:
        """
        A skeleton whose holes are disordered, outside, or not filled by what they name is refused.
        """
        part = StoredPart(3, 4, 0, Recipe(BASE64, 76), 3, REFERENCE)
        for parts in ((part, part), (StoredPart(9, 4, 0, part.recipe, 3, REFERENCE),)):
            self.assertRaises(PeerError, read_skeleton, pack(Skeleton(1, b"12345", parts)))
        for recipe, stored in ((Recipe(BASE64, 76), 4), (Recipe(BASE64, 3), 3), (Recipe(IDENTITY), 5)):
            lying = StoredPart(3, 4, 0, recipe, stored, REFERENCE)
            self.assertRaises(PeerError, read_skeleton, pack(Skeleton(1, b"12345", (lying,))))

    def test_fingerprint(self) -> None:
        """
        A mail program's own copy, with Bcc added and fields in another order, is recognised; another body is not.
        """
        one = b"Message-ID: <1@x>\r\nSubject: s\r\n\r\nbody"
        self.assertEqual(fingerprint(one), fingerprint(b"Bcc: c@x\r\nSubject: s\r\nmessage-id:  <1@x>\r\n\r\nbody"))
        self.assertNotEqual(fingerprint(one), fingerprint(one + b"!"))
        self.assertEqual(b"", fingerprint(b"Subject: s\r\n\r\nbody"))


def tree(part: MimePart) -> object:
    return (
        part.header_start,
        part.body_start,
        part.body_end,
        part.kind,
        part.header,
        part.lines,
        [tree(child) for child in part.children],
    )


class ScanTests(SynchronousTestCase):
    """
    Tests for L{scan}.
    """

    @given(messages | st.binary(max_size=300))
    def test_nested(self, message: bytes) -> None:
        """
        Any octets have a structure, whose parts lie inside one another and do not overlap.
        """

        def check(part: MimePart, start: int, stop: int) -> None:
            self.assertTrue(start <= part.header_start <= part.body_start <= part.body_end <= stop)
            at = part.body_start
            for child in part.children:
                check(child, at, part.body_end)
                at = child.body_end

        check(scan(message), 0, len(message))

    def test_boundary_line_break(self) -> None:
        """
        The line break before a boundary belongs to the boundary.
        """
        message = mail(b"abc", b"7bit", b"text/plain")
        first, second = scan(message).children
        self.assertEqual([b"hello", b"abc"], [message[p.body_start : p.body_end] for p in (first, second)])

    def test_digest(self) -> None:
        """
        In a digest a part without a type is a message.
        """
        message = b"Content-Type: multipart/digest; boundary=b\r\n\r\n--b\r\n\r\nSubject: x\r\n\r\nbody\r\n--b--\r\n"
        [part] = scan(message).children
        self.assertEqual("message/rfc822", part.kind)
        self.assertEqual(b"Subject: x\r\n\r\n", part.children[0].header)

    def test_section(self) -> None:
        """
        Section numbers reach through embedded messages.
        """
        inner = (
            b"Subject: in\r\nContent-Type: multipart/mixed; boundary=c\r\n\r\n--c\r\n\r\none\r\n--c\r\n\r\ntwo\r\n--c--"
        )
        message = mail(inner, b"7bit", b"message/rfc822")
        root = scan(message)
        found = section(root, (2, 2))
        assert found is not None
        self.assertEqual(b"two", message[found.body_start : found.body_end])
        self.assertIsNone(section(root, (9,)))
        self.assertIsNone(section(root, (1, 2)))

    def test_many_parts(self) -> None:
        """
        Ten thousand parts, or parts ten thousand deep, neither fail nor give a tree without bounds.
        """
        wide = mail(b"--b\r\n\r\nx\r\n" * 10_000, b"7bit", b"text/plain")
        self.assertLessEqual(len(scan(wide).children), 1000)
        deep = b"".join(b"Content-Type: multipart/mixed; boundary=b%d\r\n\r\n--b%d\r\n" % (n, n) for n in range(10_000))
        scan(deep)
