"""
Tests of L{post.gateway.sts}.
"""

from __future__ import annotations

from typing import cast

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from post.errors import PeerError, Unreachable
from post.gateway.dns import Dns, DnsUnavailable, NoRecords
from post.gateway.sts import AGAIN_S, POLICY_BYTES, Policies, Policy, read_policy, read_record
from tests.scratch import scratch

ENFORCED = b"version: STSv1\r\nmode: enforce\r\nmx: mx.example.net\r\nmx: *.example.com\r\nmax_age: 10000\r\n"


class ReadTests(SynchronousTestCase):
    """
    Tests of records and policies.
    """

    def test_record(self) -> None:
        """
        Exactly one record announces a policy.
        """
        self.assertEqual("2026a", read_record([b"other", b"v=STSv1; id=2026a;"]))
        self.assertEqual("1", read_record([b"v=STSv1;x=y; id=1"]))
        for texts in ([], [b"v=STSv1"], [b"v=STSv1; id="], [b"v=STSv1; id=a-b"], [b"v=STSv1; id=a", b"v=STSv1; id=b"]):
            self.assertIsNone(read_record(texts))

    def test_policy(self) -> None:
        """
        A policy says which servers there are.
        """
        policy = read_policy("1", ENFORCED)
        self.assertEqual((True, 10000), (policy.enforces, policy.age_s))
        for host, allowed in (
            ("mx.example.net", True),
            ("MX.example.net.", True),
            ("mx2.example.net", False),
            ("a.example.com", True),
            ("a.b.example.com", False),
            ("example.com", False),
        ):
            self.assertEqual(allowed, policy.allows(host), host)

    def test_unusable(self) -> None:
        """
        What is no policy, or says too little, is refused.
        """
        for data in (
            b"",
            b"<html>",
            ENFORCED.replace(b"STSv1", b"STSv2"),
            ENFORCED.replace(b"enforce", b"maybe"),
            ENFORCED.replace(b"10000", b"-1"),
            ENFORCED.replace(b"10000", b"1" * 11),
            b"version: STSv1\nmode: enforce\nmax_age: 1\n",
            ENFORCED + b"x" * POLICY_BYTES,
        ):
            self.assertRaises(PeerError, read_policy, "1", data)

    @given(st.binary(max_size=200))
    def test_garbage(self, data: bytes) -> None:
        """
        Anything is a policy, or a L{PeerError}.
        """
        try:
            self.assertIsInstance(read_policy("1", b"version: STSv1\n" + data), Policy)
        except PeerError:
            pass
        read_record([data])


class FakeNames:
    """
    What the DNS says of C{_mta-sts}.
    """

    def __init__(self) -> None:
        self.texts: list[bytes] = []
        self.fails = False
        self.asked = 0

    async def txt(self, name: str) -> list[bytes]:
        self.asked += 1
        assert name == "_mta-sts.example.net"
        if self.fails:
            raise DnsUnavailable(name)
        if not self.texts:
            raise NoRecords(name)
        return self.texts


class PoliciesTests(SynchronousTestCase):
    """
    Tests of L{Policies}.
    """

    def setUp(self) -> None:
        self.clock = Clock()
        self.names = FakeNames()
        self.file: bytes | None = ENFORCED
        self.fetched = 0
        self.kept = scratch(self) / "mta-sts.json"
        self.start()

    def start(self) -> None:
        """
        As a gateway does.
        """
        self.policies = Policies(cast(Dns, self.names), self.fetch, self.clock, self.kept)

    async def fetch(self, host: str) -> bytes:
        """
        The web server of the domain.
        """
        self.assertEqual("mta-sts.example.net", host)
        self.fetched += 1
        if self.file is None:
            raise Unreachable(host)
        return self.file

    def holds(self) -> bool:
        """
        Whether a policy that enforces holds now.
        """
        policy = self.successResultOf(Deferred.fromCoroutine(self.policies.of("example.net")))
        return policy is not None and policy.enforces

    def test_none(self) -> None:
        """
        Most domains have none; they are not asked all the time.
        """
        self.assertFalse(self.holds())
        self.assertFalse(self.holds())
        self.assertEqual((1, 0), (self.names.asked, self.fetched))

    def test_kept(self) -> None:
        """
        A policy holds for its time, also when somebody keeps the DNS or the web server from us; a new one replaces it.
        """
        self.names.texts = [b"v=STSv1; id=1"]
        self.assertTrue(self.holds())
        self.clock.advance(AGAIN_S + 1)
        self.assertTrue(self.holds())
        self.assertEqual(1, self.fetched)
        self.names.fails = True
        self.clock.advance(AGAIN_S + 1)
        self.assertTrue(self.holds())
        self.names.fails, self.names.texts, self.file = False, [], None
        self.clock.advance(AGAIN_S + 1)
        self.assertTrue(self.holds())
        self.names.texts = [b"v=STSv1; id=2"]
        self.clock.advance(AGAIN_S + 1)
        self.assertTrue(self.holds())
        self.file = ENFORCED.replace(b"enforce", b"none")
        self.clock.advance(AGAIN_S + 1)
        self.assertFalse(self.holds())

    def test_restart(self) -> None:
        """
        A policy outlives a restart, and a damaged file does not keep a gateway from its work.
        """
        self.names.texts = [b"v=STSv1; id=1"]
        self.assertTrue(self.holds())
        self.names.fails = True
        self.start()
        self.assertTrue(self.holds())
        self.clock.advance(10001)
        self.start()
        self.assertFalse(self.holds())
        for damage in (b"{", b"{}", b'{"version":2,"policies":{}}', b'{"version":1,"policies":{"x":1}}'):
            self.kept.write_bytes(damage)
            self.start()
            self.assertFalse(self.holds())

    def test_ends(self) -> None:
        """
        And not for longer.
        """
        self.names.texts = [b"v=STSv1; id=1"]
        self.assertTrue(self.holds())
        self.names.fails = True
        self.clock.advance(10001)
        self.assertFalse(self.holds())

    def test_unusable(self) -> None:
        """
        A domain whose policy is none has none.
        """
        self.names.texts, self.file = [b"v=STSv1; id=1"], b"<html>"
        self.assertFalse(self.holds())
