"""
Tests for L{post.gateway.senders}: what records and signatures can say, without threads or a network.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, cast

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from post.gateway.dns import BlockingDns, Dns
from post.gateway.senders import SIGNATURES_LIMIT, Found, check_dkim, check_spf
from tests.gateway.names import Zone, ZoneResolver

_T = TypeVar("_T")
KEY = rsa.generate_private_key(65537, 1024)  # Any key that counts; a short one is made soon.
OTHER = rsa.generate_private_key(65537, 1024)
LETTER = b"From: eve@b.example\r\nTo: alice@example.org\r\nSubject: x\r\n\r\nHello.\r\n"


class Immediately:
    """
    A L{BlockingDns} that has every answer at once.
    """

    def __init__(self, zone: Zone) -> None:
        self.asked = Dns(ZoneResolver(zone), Clock())
        self.questions = 0

    def call(self, question: Callable[[Dns], Coroutine[Any, Any, _T]]) -> _T:
        """
        The answer.
        """
        self.questions += 1
        found: list[_T | Failure] = []
        Deferred.fromCoroutine(question(self.asked)).addBoth(found.append)
        [answer] = found
        if isinstance(answer, Failure):
            answer.raiseException()
        return answer


def ask(zone: Zone) -> BlockingDns:
    """
    Of these names.
    """
    return cast(BlockingDns, Immediately(zone))


def key_record(key: rsa.RSAPrivateKey, more: str = "") -> str:
    """
    What the DNS has of C{key}.
    """
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k=rsa; {more}p={base64.b64encode(public).decode()}"


def signed(message: bytes, key: rsa.RSAPrivateKey = KEY, **options: Any) -> bytes:
    """
    With a signature of C{b.example}.
    """
    pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    signature: bytes = dkim.sign(message, b"s1", b"b.example", pem, **options)
    return signature + message


class SpfTests(SynchronousTestCase):
    """
    Tests for L{check_spf}.
    """

    def spf(
        self, zone: Zone, sender: str = "eve@b.example", source: str = "192.0.2.1", helo: str = "mx.b.example"
    ) -> str:
        """
        The result.
        """
        return check_spf(source, sender, helo, "mx.example.org", ask(zone)).result

    def test_results(self) -> None:
        """
        Each result that a record can have, by address, name, exchanger and another domain's record.
        """
        zone: Zone = {
            "b.example": {"TXT": ["v=spf1 ip4:192.0.2.1 ip6:2001:db8::/32 -all"]},
            "a.example": {"TXT": ["v=spf1 a:host.example mx ~all"], "MX": [[10, "mail.example"]]},
            "host.example": {"A": ["192.0.2.2"]},
            "mail.example": {"A": ["192.0.2.3"]},
            "c.example": {"TXT": ["v=spf1 include:b.example ?all"]},
            "d.example": {"TXT": ["v=spf1 redirect=b.example"]},
            "two.example": {"TXT": ["v=spf1 -all", "v=spf1 +all"]},
            "none.example": {"TXT": ["something else"]},
        }
        for sender, source, result in (
            ("b.example", "192.0.2.1", "pass"),
            ("b.example", "2001:db8::1", "pass"),
            ("b.example", "192.0.2.9", "fail"),
            ("a.example", "192.0.2.2", "pass"),
            ("a.example", "192.0.2.3", "pass"),
            ("a.example", "192.0.2.9", "softfail"),
            ("c.example", "192.0.2.1", "pass"),
            ("c.example", "192.0.2.9", "neutral"),
            ("d.example", "192.0.2.9", "fail"),
            ("two.example", "192.0.2.1", "permerror"),
            ("none.example", "192.0.2.1", "none"),
            ("nowhere.example", "192.0.2.1", "none"),
        ):
            self.assertEqual(result, self.spf(zone, f"eve@{sender}", source), (sender, source))

    def test_null_sender(self) -> None:
        """
        For the null sender it is the name in the hello that counts; a literal there has no record.
        """
        zone: Zone = {"mx.b.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]}}
        self.assertEqual("pass", self.spf(zone, ""))
        self.assertEqual("fail", self.spf(zone, "", "192.0.2.9"))
        self.assertEqual("none", self.spf(zone, "", helo="[192.0.2.1]"))
        self.assertEqual("none", self.spf(zone, "", helo="localhost"))

    def test_voids(self) -> None:
        """
        A record that makes us ask for one name after another that is not there is no record (RFC 7208, 4.6.4).
        """
        zone: Zone = {
            "b.example": {"TXT": ["v=spf1 a:x1.example a:x2.example a:x3.example ip4:192.0.2.1 -all"]},
            "c.example": {"TXT": ["v=spf1 a:x1.example a:x2.example ip4:192.0.2.1 -all"]},
        }
        self.assertEqual("permerror", self.spf(zone))
        self.assertEqual("pass", self.spf(zone, "eve@c.example"))

    def test_bounded(self) -> None:
        """
        However records lead to records, few are asked for.
        """
        includes = " ".join(f"include:i{number}.example" for number in range(60))
        zone: dict[str, dict[str, Any]] = {"b.example": {"TXT": [f"v=spf1 {includes} -all"]}}
        zone |= {f"i{number}.example": {"TXT": ["v=spf1 include:b.example ?all"]} for number in range(60)}
        asked = Immediately(zone)
        found = check_spf("192.0.2.1", "eve@b.example", "x.example", "mx.example.org", cast(BlockingDns, asked))
        self.assertEqual("permerror", found.result)
        self.assertTrue(asked.questions <= 15, asked.questions)

    def test_unavailable(self) -> None:
        """
        What cannot be asked now is no answer.
        """
        self.assertEqual("temperror", self.spf({"b.example": {"FAIL": True}}))

    @given(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60))
    def test_anything(self, record: str, sender: str, helo: str) -> None:
        """
        Whatever a record, a sender or a hello is, it is some result.
        """
        zone: Zone = {"b.example": {"TXT": ["v=spf1 " + record]}}
        for who in (f"{sender}@b.example", sender):
            found = check_spf("192.0.2.1", who, helo, "mx.example.org", ask(zone))
            self.assertIn(
                found.result, ("pass", "fail", "softfail", "neutral", "none", "permerror", "temperror"), (record, who)
            )


class DkimTests(SynchronousTestCase):
    """
    Tests for L{check_dkim}.
    """

    def setUp(self) -> None:
        self.zone: dict[str, dict[str, Any]] = {"s1._domainkey.b.example": {"TXT": [key_record(KEY)]}}

    def check(self, message: bytes) -> list[str]:
        """
        The results.
        """
        return [found.result for found in check_dkim(message, ask(self.zone))]

    def test_pass(self) -> None:
        """
        A signature over what is there counts, with either way of writing lines that mean the same.
        """
        for how in ((b"relaxed", b"relaxed"), (b"simple", b"simple"), (b"relaxed", b"simple")):
            [found] = check_dkim(signed(LETTER, canonicalize=how), ask(self.zone))
            self.assertEqual(Found("pass", "b.example", "s1"), found)
        folded = signed(LETTER, canonicalize=(b"relaxed", b"relaxed")).replace(b"Subject: x", b"SUBJECT:\r\n  x ")
        self.assertEqual(["pass"], self.check(folded))

    def test_fail(self) -> None:
        """
        What was changed since, in the header or the body, or signed with another key, does not.
        """
        message = signed(LETTER)
        for changed in (
            message.replace(b"Hello.", b"Hello!"),
            message + b"More.\r\n",
            message.replace(b"Subject: x", b"Subject: y"),
            b"From: boss@b.example\r\n" + message,
            signed(LETTER, OTHER),
        ):
            self.assertEqual(["fail"], self.check(changed), changed)

    def test_part(self) -> None:
        """
        A signature over a part of the body counts for nothing: anybody could go on behind that.
        """
        message = signed(LETTER, length=True)
        self.assertIn(b" l=", message)
        for each in (message, message + b"Buy.\r\n"):
            [found] = check_dkim(each, ask(self.zone))
            self.assertEqual(("policy", "only a part is signed"), (found.result, found.remark))

    def test_author_unsigned(self) -> None:
        """
        Nor does one that leaves out who wrote it, or one with a hash that can be forged.
        """
        message = signed(LETTER)
        for old, new in ((b"a=rsa-sha256", b"a=rsa-sha1"), (b"h=", b"h=to : x-")):
            self.assertNotIn("pass", self.check(message.replace(old, new, 1)))

    def test_keys(self) -> None:
        """
        A key that is not there, was revoked, is too short or too expensive verifies nothing; nor does what cannot be
        asked for now, which is another result.
        """
        message = signed(LETTER)
        for text in ("v=DKIM1; k=rsa; p=", "v=DKIM1; k=rsa", "v=DKIM1; p=!!!"):
            self.zone["s1._domainkey.b.example"] = {"TXT": [text]}
            self.assertEqual(["permerror"], self.check(message), text)
        del self.zone["s1._domainkey.b.example"]
        self.assertEqual(["permerror"], self.check(message))
        self.zone["s1._domainkey.b.example"] = {"FAIL": True}
        self.assertEqual(["temperror"], self.check(message))

    def test_many(self) -> None:
        """
        Of very many signatures the first few are looked at, and nothing of a message with very many fields.
        """
        message = LETTER
        for _ in range(SIGNATURES_LIMIT + 3):
            message = signed(LETTER).removesuffix(LETTER) + message
        self.assertEqual(["pass"] * SIGNATURES_LIMIT, self.check(message))
        self.assertEqual(["policy"], self.check(signed(b"X-A: b\r\n" * 1000 + LETTER)))
        self.assertEqual([], self.check(LETTER))

    @given(st.binary(max_size=200))
    def test_anything(self, value: bytes) -> None:
        """
        What is no signature is some result, and never a good one.
        """
        field = b"DKIM-Signature: " + value.replace(b"\r", b"").replace(b"\n", b"") + b"\r\n"
        self.assertNotIn("pass", self.check(field + LETTER))
