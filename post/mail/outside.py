"""
All that a node does for mail to the Internet, put together: every node keeps it and hands it to gateways, and one with
the role also relays it.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from post.complaints import Complaints
from post.crypto.certificates import NodeCertificate
from post.crypto.documents import Directory, Policy
from post.errors import PostError, Refused
from post.ids import Handle
from post.interfaces import Entropy
from post.mail.forwarding import Forwarding, contact_of
from post.mail.gateways import PUBLISH_S, Gateways
from post.mail.letter import LetterBox
from post.mail.messages import Prompt, Prompted
from post.mail.outbound import OutboundKind
from post.mail.outbox import Outbox
from post.mail.relay import IRelay, Tell
from post.mail.relaying import Relaying
from post.mail.schedule import Schedule
from post.messaging.account import Account
from post.messaging.dispatch import Signer
from post.messaging.notification import GATEWAY
from post.past.node import Past
from post.pastry.node import Pastry
from post.rpc import Rpc, expect
from post.tasks import Tasks, sleep

PUBLISH_AGAIN_S = 5.0
PROMPT_DEADLINE_S = 20.0


class Outside:
    """
    The way out, on one node.
    """

    log = Logger()

    def __init__(
        self,
        rpc: Rpc,
        pastry: Pastry,
        past: Past,
        letters: LetterBox,
        tell: Tell,
        certificate: NodeCertificate,
        signer: Callable[[], Signer],
        directory: Callable[[], Directory],
        policy: Policy,
        root: bytes,
        clock: IReactorTime,
        random: Random,
        entropy: Entropy,
        complaints: Complaints,
        tasks: Tasks,
    ) -> None:
        self._rpc = rpc
        self._pastry = pastry
        self._past = past
        self._node_id = certificate.node_id
        self._root = root
        self._signer = signer
        self._clock = clock
        self._random = random
        self._entropy = entropy
        self._tasks = tasks
        self.gateways = Gateways(past, directory, root, clock)
        self.relaying: Relaying | None = None
        """The gateway that this node is, if it is one."""
        if GATEWAY in certificate.roles:
            self.relaying = Relaying(
                past,
                rpc,
                letters,
                certificate.node_id,
                signer,
                root,
                policy.domain,
                tell,
                clock,
                random,
                entropy,
                complaints,
                tasks,
            )
        here = self.relaying.offered if self.relaying is not None else None
        self.forwarding = Forwarding(past, rpc, pastry, self.gateways, here, clock, random, tasks)
        past.register(OutboundKind(root, self.forwarding.told))

    def start(self) -> None:
        """
        Take up what was waiting; as a gateway, say to which key mail is to be sealed.
        """
        self.forwarding.resume()
        if self.relaying is not None:
            self._tasks.spawn(self._publish())

    async def _publish(self) -> None:
        while True:
            pause_s = PUBLISH_S * self._random.uniform(0.8, 1.0)
            try:
                await self.gateways.publish(self._node_id, self._signer())
            except PostError as error:
                self.log.info("the gateway's key is not published yet: {error}", error=error)
                pause_s = PUBLISH_AGAIN_S
            await sleep(self._clock, pause_s)

    def relay(self, relay: IRelay, schedule: Schedule) -> None:
        """
        As a gateway, relay from now on.
        """
        assert self.relaying is not None
        self.relaying.start(relay, schedule)

    def stop(self) -> None:
        """
        Leave it to others.
        """
        self.forwarding.stop()
        if self.relaying is not None:
            self.relaying.stop()

    def outbox(self, account: Account) -> Outbox:
        """
        Where mail of an account that lives here goes.
        """
        return Outbox(
            account,
            self._past,
            self.gateways,
            self._node_id,
            self._signer,
            self._root,
            self._clock,
            self._entropy,
        )

    async def prompt(self, handle: Handle, what: int) -> None:
        """
        Have a gateway try what this node has sent, or give it up.

        @raise PostError: why it cannot be done.
        """
        error: PostError | None = None
        nodes = self.gateways.in_order(handle)
        if self.relaying is not None and handle in self.relaying.works:
            nodes = [self._node_id]  # We are at it ourselves.
        for node in nodes:
            try:
                if node == self._node_id and self.relaying is not None:
                    await self.relaying.prompt(handle, what)
                else:
                    contact = await contact_of(self._pastry, node)
                    expect(Prompted, await self._rpc.ask(contact, Prompt(handle, what), PROMPT_DEADLINE_S))
            except PostError as failed:
                error = error or failed
            else:
                return
        if isinstance(error, Refused):
            raise PostError(error.text)  # What the gateway says is for people.
        raise error or PostError("there is no gateway")
