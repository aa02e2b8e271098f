"""
An authority that answers, and members who ask it, for tests.
"""

from __future__ import annotations

from pathlib import Path

from post.ca.authority import Authority
from post.ca.code import JoinCode
from post.ca.enrolment import Enrolment
from post.ca.questions import (
    ENTRUST,
    JOIN,
    NEWS,
    RECOVER,
    RENEW,
    VERSION,
    AskNews,
    Entrust,
    Join,
    News,
    Proven,
    Recover,
    Recovered,
    Renew,
    Renewed,
    Welcome,
    check_proven,
    prove,
    read,
    sign_claim,
    sign_question,
)
from post.crypto.certificates import make_request
from post.crypto.entropy import SeededEntropy
from post.crypto.keys import SigningKey
from post.crypto.recovery import RecoveryKeys
from post.hashes import Purpose
from tests.crypto.issued import DAY, NOW

WHERE = "10.0.0.1:7655"


class Office:
    """
    An authority that answers.
    """

    def __init__(self, directory: Path, seed: bytes = b"office") -> None:
        self.entropy = SeededEntropy(seed)
        self.authority = Authority.create(directory / "authority", "example.org", self.entropy, NOW)
        self.enrolment = Enrolment(self.authority, NOW)

    def code(self, address: str = "bob@example.org", replace: bool = False) -> JoinCode:
        """
        A code that is good for a day.
        """
        tokens = self.enrolment.tokens
        return tokens.make(WHERE, self.authority.root, address, NOW + DAY, self.entropy, replace=replace)

    def joined(self, name: str) -> Newcomer:
        """
        Somebody who has joined.
        """
        newcomer = Newcomer(name)
        newcomer.join(self, self.code(f"{name}@example.org"))
        return newcomer


def claim(
    office: Office, keys: RecoveryKeys, newcomer: Newcomer, index: int = 0, now: int = NOW, door: bytes | None = None
) -> Recovered:
    """
    Take the place of a lost machine with the code of C{keys}; what is answered.
    """
    body = Recover(
        VERSION,
        office.enrolment.door if door is None else door,
        make_request(newcomer.key),
        make_request(newcomer.person),
        index,
        newcomer.addresses,
    )
    recovered = read(Recovered, office.enrolment.answer(RECOVER, sign_claim(body, keys.claim), now))
    newcomer.chain, newcomer.person_chain = recovered.node_chain, recovered.user_chain
    return recovered


class Newcomer:
    """
    Somebody with keys, who becomes a member.
    """

    def __init__(self, name: str) -> None:
        entropy = SeededEntropy(name.encode())
        self.key, self.person = SigningKey.generate(entropy), SigningKey.generate(entropy)
        self.addresses: tuple[str, ...] = (f"{name}:7654",)
        self.chain: tuple[bytes, ...] = ()
        self.person_chain: tuple[bytes, ...] = ()

    def question(self, office: Office, code: JoinCode) -> bytes:
        """
        What is sent to join.
        """
        requests = make_request(self.key), make_request(self.person)
        body = Join(VERSION, office.enrolment.door, *requests, self.addresses)
        return prove(body, code.name, code.key, Purpose.JOIN_QUESTION)

    def join(self, office: Office, code: JoinCode, now: int = NOW) -> Welcome:
        """
        Join, and keep what is given.
        """
        answer = office.enrolment.answer(JOIN, self.question(office, code), now)
        welcome = check_proven(read(Proven, answer), Welcome, code.key, Purpose.JOIN_ANSWER)
        self.chain, self.person_chain = welcome.node_chain, welcome.user_chain
        return welcome

    def entrust(self, office: Office, keys: RecoveryKeys, share: bytes = b"s" * 32, now: int = NOW) -> None:
        """
        Make the code of C{keys} known.
        """
        body = Entrust(VERSION, office.enrolment.door, now, keys.claim.public, share)
        office.enrolment.answer(ENTRUST, sign_question(body, self.person, self.person_chain), now)

    def news(
        self, office: Office, policy: int = 0, directory: int = 0, now: int = NOW, said: int | None = None
    ) -> News:
        """
        Ask for what is newer; C{said} is our clock's time.
        """
        asked = AskNews(
            VERSION, office.enrolment.door, now if said is None else said, policy, directory, self.addresses
        )
        return read(News, office.enrolment.answer(NEWS, sign_question(asked, self.key, self.chain), now))

    def renew(
        self,
        office: Office,
        now: int,
        person: bool = False,
        request: bytes | None = None,
        chain: tuple[bytes, ...] | None = None,
    ) -> tuple[bytes, ...]:
        """
        Have the node's, or the person's, certificate renewed.
        """
        key = self.person if person else self.key
        asked = Renew(VERSION, office.enrolment.door, now, request or make_request(key))
        signed = sign_question(asked, key, chain or (self.person_chain if person else self.chain))
        return read(Renewed, office.enrolment.answer(RENEW, signed, now)).chain
