"""
Tests for L{post.gateway.verification} and L{post.gateway.senders}: against a real name server on loopback.
"""

from __future__ import annotations

import base64
from collections.abc import Coroutine
from typing import Any

import dkim
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.names.error import ResolverError
from twisted.trial.unittest import TestCase

from post.gateway.dns import Dns, make_resolver
from post.gateway.verification import Advice, Verdict, Verifier
from tests.gateway.names import Names, Zone

KEY = rsa.generate_private_key(65537, 2048)


def record(key: rsa.RSAPrivateKey) -> str:
    """
    The public half as the DNS has it.
    """
    public = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return f"v=DKIM1; k=rsa; p={base64.b64encode(public).decode()}"


ZONE: Zone = {
    "good.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
    "_dmarc.good.example": {"TXT": ["v=DMARC1; p=reject"]},
    "s1._domainkey.good.example": {"TXT": [record(KEY)]},
    "strict.example": {"TXT": ["v=spf1 -all"]},
    "_dmarc.strict.example": {"TXT": ["v=DMARC1; p=reject"]},
    "_dmarc.trial.example": {"TXT": ["v=DMARC1; p=reject; pct=0"]},
    "_dmarc.wary.example": {"TXT": ["v=DMARC1; p=reject; sp=quarantine"]},
    "wary.example": {"TXT": ["v=spf1 -all"]},
    "loop.example": {"TXT": ["v=spf1 include:loop.example -all"]},
    "broken.example": {"FAIL": True},
    "tight.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
    "sub.tight.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
    "sub.good.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
    "_dmarc.tight.example": {"TXT": ["v=DMARC1; p=reject; aspf=s; adkim=s"]},
    "_dmarc.broken.example": {"TXT": ["v=DMARC1; p=reject"]},
    "_dmarc.silent.example": {"FAIL": True},
    "silent.example": {"TXT": ["v=spf1 ip4:192.0.2.1 -all"]},
}


def letter(author: str, *more: str) -> bytes:
    """
    A message.
    """
    header = "".join(f"{line}\r\n" for line in (f"From: {author}", "Subject: x", *more))
    return f"{header}\r\nHello.\r\n".encode()


def signed(message: bytes, domain: str = "good.example") -> bytes:
    """
    With a signature of C{domain}.
    """
    pem = KEY.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
    )
    signature: bytes = dkim.sign(message, b"s1", domain.encode(), pem)
    return signature + message


class VerifierTests(TestCase):
    """
    Tests of L{Verifier}.
    """

    timeout = 60

    def setUp(self) -> None:
        from twisted.internet import reactor

        clock: Any = reactor
        self.names = Names(reactor, ZONE)
        self.dns = Dns(make_resolver(reactor, self.names.place), clock)
        self.verifier = Verifier(self.dns, reactor, clock, deferToThread, "mx.example.org")

    def tearDown(self) -> Deferred[None]:  # type: ignore[override]  # Trial waits for it.
        self.dns.stop()
        return Deferred.fromCoroutine(self.names.stop())

    def run_all(self, coroutine: Coroutine[Any, Any, None]) -> Deferred[None]:
        """
        What trial waits for.
        """
        return Deferred.fromCoroutine(coroutine)

    async def examine(self, message: bytes, source: str = "192.0.2.1", sender: str = "eve@good.example") -> Verdict:
        """
        What is found out about a message.
        """
        verdict = await self.verifier.examine(source, "mx.good.example", sender, message)
        self.assertTrue(verdict.results.startswith(b"Authentication-Results: mx.example.org;\r\n\t"), verdict.results)
        self.assertTrue(verdict.results.endswith(b"\r\n") and b"\r\n\r\n" not in verdict.results)
        return verdict

    def test_sound(self) -> Deferred[None]:
        """
        Mail that its domain speaks for, by the sender's address or by a signature, is accepted, and so said.
        """

        async def check() -> None:
            verdict = await self.examine(letter("eve@good.example"))
            self.assertEqual((Advice.ACCEPT, False), (verdict.advice, verdict.uncertain))
            self.assertIn(b"spf=pass smtp.mailfrom=good.example;", verdict.results)
            self.assertIn(b"dkim=none;", verdict.results)
            self.assertIn(b"dmarc=pass (p=reject) header.from=good.example", verdict.results)
            # Forwarded: the source is another, the signature still holds.
            verdict = await self.examine(signed(letter("eve@good.example")), "192.0.2.9", "list@elsewhere.example")
            self.assertEqual(Advice.ACCEPT, verdict.advice)
            self.assertIn(b"dkim=pass header.d=good.example header.s=s1", verdict.results)

        return self.run_all(check())

    def test_forged(self) -> Deferred[None]:
        """
        Mail in the name of a domain that does not speak for it gets what the domain wishes: a changed body, a signature
        by somebody else, one domain of two in From.
        """

        async def check() -> None:
            changed = signed(letter("eve@good.example")).replace(b"Hello", b"Hullo")
            for message in (
                letter("eve@good.example"),
                changed,
                letter("Eve <eve@good.example>, Boss <boss@strict.example>"),
                signed(letter("boss@strict.example")),
            ):
                verdict = await self.examine(message, "192.0.2.9")
                self.assertEqual(Advice.REJECT, verdict.advice, verdict.results)
            self.assertIn(b"dkim=fail", (await self.examine(changed, "192.0.2.9")).results)
            for author, advice in (
                ("x@trial.example", Advice.JUNK),
                ("x@wary.example", Advice.REJECT),
                ("x@sub.wary.example", Advice.JUNK),
                ("x@unknown.example", Advice.ACCEPT),
            ):
                verdict = await self.examine(letter(author), "192.0.2.9", "")
                self.assertEqual(advice, verdict.advice, author)

        return self.run_all(check())

    def test_aligned(self) -> Deferred[None]:
        """
        What a sub-domain sent or signed speaks for the domain, unless that wants it strictly.
        """

        async def check() -> None:
            for author, sender, advice in (
                ("x@good.example", "x@sub.good.example", Advice.ACCEPT),
                ("x@tight.example", "x@tight.example", Advice.ACCEPT),
                ("x@tight.example", "x@sub.tight.example", Advice.REJECT),
            ):
                verdict = await self.examine(letter(author), sender=sender)
                self.assertIn(b"spf=pass", verdict.results)
                self.assertEqual(advice, verdict.advice, sender)

        return self.run_all(check())

    def test_authors(self) -> Deferred[None]:
        """
        Every author counts, wherever one stands: a second address, a group, a second field; and a message without any
        is junk.
        """

        async def check() -> None:
            good, boss = "Eve <eve@good.example>", "Boss <boss@strict.example>"
            self.assertEqual(Advice.ACCEPT, (await self.examine(letter(good))).advice)
            for message in (
                letter(f"{good}, {boss}"),
                letter(f"Team: {good}, {boss};"),
                letter(good, f"From: {boss}"),
                letter(boss, f"From: {good}"),
            ):
                verdict = await self.examine(message)
                self.assertIn(b"spf=pass", verdict.results)
                self.assertEqual(Advice.REJECT, verdict.advice, message)
            for message in (b"Subject: x\r\n\r\nHello.\r\n", letter("")):
                self.assertEqual(Advice.JUNK, (await self.examine(message)).advice, message)

        return self.run_all(check())

    def test_not_to_be_known(self) -> Deferred[None]:
        """
        If the DNS fails where it matters, nothing is refused for good.
        """

        async def check() -> None:
            verdict = await self.examine(letter("x@broken.example"), "192.0.2.9", "x@broken.example")
            self.assertIn(b"spf=temperror", verdict.results)
            self.assertEqual((Advice.REJECT, True), (verdict.advice, verdict.uncertain))
            # The same if it is the policy that cannot be had, but for mail that any policy would let in.
            for source, advice in (("192.0.2.9", Advice.REJECT), ("192.0.2.1", Advice.ACCEPT)):
                verdict = await self.examine(letter("x@silent.example"), source, "x@silent.example")
                self.assertIn(b"dmarc=temperror", verdict.results)
                self.assertEqual((advice, advice > 0), (verdict.advice, verdict.uncertain))
            # What our name server says of its own failure.
            self.flushLoggedErrors(ResolverError)

        return self.run_all(check())

    def test_hostile(self) -> Deferred[None]:
        """
        Records that go in circles, and signatures that are none, are a result of that message and nothing worse.
        """

        async def check() -> None:
            verdict = await self.examine(letter("x@loop.example"), sender="x@loop.example")
            self.assertIn(b"spf=permerror", verdict.results)
            for field in (
                "DKIM-Signature: nonsense",
                "DKIM-Signature: v=1; a=rsa-sha256; d=good.example; s=s1; h=subject; bh=AAAA; b=AAAA",
                "DKIM-Signature: v=1; a=rsa-sha1; c=simple; d=good.example; s=s1; h=from; bh=AAAA; b=AAAA",
                "DKIM-Signature: v=1; a=rsa-sha256; d=good.example; s=s1; l=0; h=from; bh=AAAA; b=AAAA",
                "DKIM-Signature: v=1; a=rsa-sha256; d=\u00fc; s=..; h=from; bh=\u00fc; b=\u00fc",
            ):
                verdict = await self.examine(letter("x@unknown.example", field), "192.0.2.9", "")
                self.assertNotIn(b"dkim=pass", verdict.results, field)
                self.assertIn(b"dkim=", verdict.results, field)

        return self.run_all(check())
