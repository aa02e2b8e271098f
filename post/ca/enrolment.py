"""
The authority's answers to the questions of L{post.ca.questions}.  Knows nothing of HTTP.

What a crash leaves behind: a code is noted as used, with the keys that used it, before anything is issued for them; so
the same machine can ask again, and no other can.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable

import msgspec
from twisted.logger import Logger

from post.ca.authority import BACKDATED_S, LATE_S, SHORT_S, Authority
from post.ca.code import check_where
from post.ca.heard import Heard
from post.ca.questions import (
    ENTRUST,
    JOIN,
    LOG,
    NEWS,
    PAGE_LIMIT,
    RECOVER,
    RENEW,
    SKEW_S,
    VERSION,
    AskLog,
    AskNews,
    Claimed,
    Entrust,
    Entrusted,
    Greeting,
    Join,
    News,
    Page,
    Proven,
    Question,
    Recovered,
    Renew,
    Renewed,
    Welcome,
    check_claim,
    check_proven,
    check_question,
    door_hash,
    keys_hash,
    prove,
    read,
)
from post.ca.recoveries import Recoveries
from post.ca.tokens import REPEAT_S, REPEATS_LIMIT, Token, Tokens
from post.crypto.certificates import (
    IdentityCertificate,
    NodeCertificate,
    issuing_key,
    read_identity,
    read_node,
    request_key,
    verify_identity,
    verify_node,
)
from post.crypto.documents import DAY_S, open_policy
from post.crypto.keys import public_bytes
from post.crypto.revocations import IDENTITY, NODE
from post.errors import BadSignature, ConfigError, PeerError, Refused
from post.hashes import Purpose
from post.ids import NodeId
from post.wire import RefusalCode, pack

RENEWED_S = DAY_S
"""A certificate that is younger is given again instead of another: the answer may have been lost, and who asks in a
circle fills no disk."""
QUESTIONS_LIMIT = 30
"""Questions of one member in a minute.  A node asks at most six times for news, and each time for three pages of the
public log."""
REPLACED = "lost, and replaced by recovery"
"""Why keys are revoked, for all members to read."""
ASKERS_KEPT = 10_000
"""Members whose questions are counted, those who asked last."""


class WrongCode(Refused):
    """
    A code that does not exist: perhaps a guess.
    """

    def __init__(self, text: str = "this authority has given out no such code") -> None:
        super().__init__(RefusalCode.FORBIDDEN, text)


class Enrolment:
    """
    An authority that answers.

    @ivar key: of the door certificate.
    @ivar chain: the door certificate and the issuing authority's.
    """

    log = Logger()

    def __init__(self, authority: Authority, now: int) -> None:
        self.authority = authority
        self.root = authority.root
        self.tokens = Tokens(authority.path)
        self.recoveries = Recoveries(authority.path)
        self.heard = Heard(authority.path)
        self.key, self.chain = authority.door(now)
        self.door = door_hash(self.chain[0])
        self._asked: OrderedDict[bytes, tuple[int, int]] = OrderedDict()  # By key: since when, how often.

    def greeting(self, now: int) -> bytes:
        """
        What everybody is told.
        """
        return pack(Greeting(VERSION, self.chain[1], self.root, now))

    def answer(self, question: str, data: bytes, now: int) -> bytes:
        """
        @raise Refused: if the answer is no (L{WrongCode} if that should be slowed down).
        @raise PeerError: if it is no question.
        """
        answers: dict[str, Callable[[bytes, int], bytes]] = {
            JOIN: self._join,
            NEWS: self._news,
            RENEW: self._renew,
            LOG: self._log,
            ENTRUST: self._entrust,
            RECOVER: self._recover,
        }
        if question not in answers:
            raise Refused(RefusalCode.UNSUPPORTED, "this authority does not know that question")
        try:
            return answers[question](data, now)
        except ConfigError as error:
            # Locked for an instant by whoever issues something by hand; or damaged, which a person has to mend.
            self.log.error("the authority cannot answer: {error}", error=error)
            raise Refused(RefusalCode.OVERLOADED, "the authority cannot answer now: try again in a while") from None

    # Joining.

    def _join(self, data: bytes, now: int) -> bytes:
        proven = read(Proven, data)
        with self.authority.alone():
            token = self._check_code(proven, now)
        join = read(Join, proven.body)
        # Two that use one code at once are told apart under the lock; from here on it belongs to these keys.
        node_chain = self.authority.issue_node(
            join.node_request, token.address, now, token.site, token.roles, token.index, SHORT_S
        )
        user_chain = self.authority.issue_user(join.user_request, token.address, now, SHORT_S)
        node = read_node(node_chain[0])
        self._note(node.node_id, join.addresses, now)
        self.log.info("{node} of {owner} has joined", node=node.node_id, owner=node.owner)
        welcome = Welcome(
            VERSION,
            token.address,
            node_chain,
            user_chain,
            self.authority.membership(now).to_bytes(),
            self.heard.addresses(node.node_id),
        )
        return prove(welcome, token.name, token.key, Purpose.JOIN_ANSWER)

    def _check_code(self, proven: Proven, now: int) -> Token:
        token = self.tokens.find(proven.name)
        if token is None:
            raise WrongCode
        try:
            join = check_proven(proven, Join, token.key, Purpose.JOIN_QUESTION)
        except BadSignature:
            raise WrongCode from None
        if join.door != self.door:
            raise Refused(RefusalCode.FORBIDDEN, "this was asked of another authority")
        for request in (join.node_request, join.user_request):
            self._refuse_revoked(public_bytes(request_key(request)), now)  # Before the code is used up.
        keys = keys_hash(join)
        if token.used_by:
            late = token.used_at + REPEAT_S < now or token.uses >= REPEATS_LIMIT
            if token.used_by != keys or late:
                raise Refused(RefusalCode.FORBIDDEN, "this code has been used already")
            self.tokens.write(msgspec.structs.replace(token, uses=token.uses + 1))
            return token
        if token.expires < now:
            ended = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(token.expires))
            raise Refused(RefusalCode.FORBIDDEN, f"this code has expired, on {ended}")
        if not token.replace and self.authority.members(now).account(token.address) is not None:
            raise Refused(RefusalCode.CONFLICT, f"{token.address} has an account already")
        self.tokens.write(msgspec.structs.replace(token, used_by=keys, used_at=now, uses=1))
        return token

    # Recovery.

    def _entrust(self, data: bytes, now: int) -> bytes:
        question = read(Question, data)
        person = self._person(question, now)
        entrust = check_question(question, Entrust, person.public_key)
        self._check_fresh(entrust.door, entrust.time, now)
        self._check_rate(person.public_key, now)
        with self.authority.alone():
            self._newest("identity", person.address, person.public_key)
            # Or a thief's code would lie here until the name has a key again, and could then take that over.
            self._refuse_revoked(person.public_key, now)
            known = self.recoveries.find(entrust.claim)
            if known is not None and (known.account, known.claim) != (person.account, entrust.claim):
                # Somebody else's, or one that was renewed: it would lead two ways, or somewhere again.
                raise Refused(RefusalCode.CONFLICT, "this recovery code has been used already: make another one")
            self.authority.public_log.entrust(person.address, entrust.claim, now)
            self.recoveries.entrust(person.account, person.address, entrust.claim, entrust.share, now)
        self.log.info("{address} has a new recovery code", address=person.address)
        return pack(Entrusted(VERSION))

    def _recover(self, data: bytes, now: int) -> bytes:
        """
        In an order that can be cut short anywhere, and asked again: for the same keys, the same certificates.
        """
        claimed = read(Claimed, data)
        found = self.recoveries.find(claimed.claim)
        if found is None:
            raise WrongCode("this authority knows no such recovery code")
        try:
            recover = check_claim(claimed)
        except BadSignature:
            raise WrongCode("this authority knows no such recovery code") from None
        if recover.door != self.door:
            raise Refused(RefusalCode.FORBIDDEN, "this was asked of another authority")
        if self.authority.members(now).account(found.address) != found.account:
            raise Refused(RefusalCode.FORBIDDEN, f"{found.address} has no account here any more")
        if not found.claim:
            raise WrongCode("this recovery code was taken back with the keys of its account: ask for a code to join")
        if found.claim != claimed.claim:
            raise WrongCode("this recovery code has been renewed: use the one that was made last")
        self._check_rate(claimed.claim, now)
        for request in (recover.node_request, recover.user_request):  # Before anything is replaced.
            if self.authority.taken(public_bytes(request_key(request)), now) is not None:
                raise Refused(
                    RefusalCode.FORBIDDEN, "this machine has been replaced itself: begin in an empty directory"
                )
        node_chain = self._replaced_node(found.address, recover.index, recover.node_request, now)
        user_chain = self._replaced_person(found.address, recover.user_request, now)
        node, person = read_node(node_chain[0]), read_identity(user_chain[0])
        for kind, name, key in (
            (NODE, node.node_id.hex(), node.public_key),
            (IDENTITY, found.address, person.public_key),
        ):
            if self.authority.revoke(kind, name, now, REPLACED, keeping=key):
                self.log.info("the keys that {name} had are revoked", name=name)
        self._note(node.node_id, recover.addresses, now)
        self.log.info("{address} is recovered on {node}", address=found.address, node=node.node_id)
        return pack(
            Recovered(
                VERSION,
                found.address,
                node_chain,
                user_chain,
                self.authority.membership(now).to_bytes(),
                self.heard.addresses(node.node_id),
                found.share,
            )
        )

    def _replaced_node(self, owner: str, index: int, request: bytes, now: int) -> tuple[bytes, ...]:
        before = self.authority.newest("node", self.authority.node_id(owner, index).hex())
        site, roles = "", frozenset[str]()
        if before is not None:
            old = read_node(before)
            site, roles = old.site, self.authority.roles(old, now)
            same = old.public_key == public_bytes(request_key(request)) and roles == old.roles
            if same and _is_young(old, now):
                return before, self.authority.issuing
        return self.authority.issue_node(request, owner, now, site, sorted(roles), index, SHORT_S)

    def _replaced_person(self, address: str, request: bytes, now: int) -> tuple[bytes, ...]:
        before = self.authority.newest("identity", address)
        if before is not None:
            old = read_identity(before)
            if old.public_key == public_bytes(request_key(request)) and _is_young(old, now):
                return before, self.authority.issuing
        return self.authority.issue_user(request, address, now, SHORT_S)

    # Members.

    def _news(self, data: bytes, now: int) -> bytes:
        question = read(Question, data)
        node = self._node(question, now)
        ask = check_question(question, AskNews, node.public_key)
        self._check_fresh(ask.door, ask.time, now)
        self._check_rate(node.public_key, now)
        membership = self.authority.membership(now)
        revoked = membership.revoked if self.authority.revocations(now).serial > ask.revoked else b""
        if self.authority.taken(node.public_key, now) is not None:
            return pack(News(VERSION, b"", b"", (), revoked))
        self._newest("node", node.node_id.hex(), node.public_key)
        self._note(node.node_id, ask.addresses, now)
        policy = open_policy(membership.policy, self.root, now)
        directory = self.authority.members(now)
        return pack(
            News(
                VERSION,
                membership.policy if policy.serial > ask.policy else b"",
                membership.directory if directory.serial > ask.directory else b"",
                self.heard.addresses(node.node_id),
                revoked,
            )
        )

    def _log(self, data: bytes, now: int) -> bytes:
        """
        Whoever is revoked may read it too: it says by whose doing.
        """
        question = read(Question, data)
        node = self._node(question, now)
        ask = check_question(question, AskLog, node.public_key)
        self._check_fresh(ask.door, ask.time, now)
        self._check_rate(node.public_key, now)
        entries, head, length = self.authority.public_log.page(ask.start, PAGE_LIMIT, now)
        return pack(Page(VERSION, head, entries, length))

    def _renew(self, data: bytes, now: int) -> bytes:
        question = read(Question, data)
        certificate: NodeCertificate | IdentityCertificate
        try:
            certificate = self._node(question, now, late=True)
        except PeerError:
            certificate = self._person(question, now)
        renew = check_question(question, Renew, certificate.public_key)
        self._check_fresh(renew.door, renew.time, now)
        if public_bytes(request_key(renew.request)) != certificate.public_key:
            raise Refused(RefusalCode.INVALID, "a certificate is renewed for the key that it has")
        self._check_rate(certificate.public_key, now)
        self._refuse_revoked(certificate.public_key, now)
        chain: tuple[bytes, ...]
        if isinstance(certificate, NodeCertificate):
            newest = self._newest("node", certificate.node_id.hex(), certificate.public_key)
            chain = self._renewed_node(newest, renew.request, now)
        else:
            newest = self._newest("identity", certificate.address, certificate.public_key)
            chain = (newest, self.authority.issuing)
            if not _is_young(read_identity(newest), now):
                chain = self.authority.issue_user(renew.request, certificate.address, now, SHORT_S)
        return pack(Renewed(VERSION, chain))

    def _renewed_node(self, newest: bytes, request: bytes, now: int) -> tuple[bytes, ...]:
        old = read_node(newest)
        roles = self.authority.roles(old, now)
        if roles == old.roles and _is_young(old, now):
            return newest, self.authority.issuing
        # One that was carried by hand, and gets other roles, keeps its long life.
        life_s = SHORT_S if roles == old.roles else max(SHORT_S, old.not_after - now)
        return self.authority.issue_node(request, old.owner, now, old.site, sorted(roles), old.index, life_s)

    def _node(self, question: Question, now: int, late: bool = False) -> NodeCertificate:
        certificate = read_node(question.chain[0]) if question.chain else None
        if certificate is None:
            raise PeerError("a question without certificates")
        verify_node(question.chain, self.root, _at(certificate, now, late))
        return certificate

    def _person(self, question: Question, now: int) -> IdentityCertificate:
        certificate = read_identity(question.chain[0]) if question.chain else None
        if certificate is None:
            raise PeerError("a question without certificates")
        verify_identity(question.chain, self.root, _at(certificate, now, True))
        return certificate

    def _newest(self, kind: str, name: str, key: bytes) -> bytes:
        """
        The certificate issued last, which has to be for C{key}: who has been given another key since is spoken for by
        that one alone, as the old one may be a thief's.
        """
        newest = self.authority.newest(kind, name)
        if newest is None or issuing_key(newest) != key:
            raise Refused(RefusalCode.FORBIDDEN, "another key has been certified since")
        return newest

    def _refuse_revoked(self, key: bytes, now: int) -> None:
        taken = self.authority.taken(key, now)
        if taken is not None:
            raise Refused(RefusalCode.FORBIDDEN, f"this key was {taken}: ask whoever runs the authority for a new code")

    def _check_rate(self, key: bytes, now: int) -> None:
        since, count = self._asked.pop(key, (now, 0))
        if not 0 <= now - since < 60:
            since, count = now, 0
        self._asked[key] = (since, count + 1)
        if len(self._asked) > ASKERS_KEPT:
            self._asked.popitem(last=False)
        if count >= QUESTIONS_LIMIT:
            raise Refused(RefusalCode.OVERLOADED, "too many questions in a minute")

    def _check_fresh(self, door: bytes, at: int, now: int) -> None:
        if door != self.door:
            raise Refused(RefusalCode.FORBIDDEN, "this was asked of another authority")
        if abs(now - at) > SKEW_S:
            raise Refused(RefusalCode.INVALID, f"the clocks of member and authority differ by {abs(now - at)} s")

    def _note(self, node: NodeId, addresses: tuple[str, ...], now: int) -> None:
        members = frozenset(member.node for member in self.authority.members(now).members)
        self.heard.note(node, tuple(filter(check_where, addresses)), members, now)


def _is_young(certificate: NodeCertificate | IdentityCertificate, now: int) -> bool:
    """
    Whether there is no use in another already.
    """
    return now < certificate.not_after and now - certificate.not_before < BACKDATED_S + RENEWED_S


def _at(certificate: NodeCertificate | IdentityCertificate, now: int, late: bool) -> int:
    """
    When a certificate has to have been valid.
    """
    if late and certificate.not_after < now <= certificate.not_after + LATE_S:
        return certificate.not_after
    return now
