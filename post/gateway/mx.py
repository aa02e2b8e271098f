"""
SMTP from the Internet: what the MX record of the organisation leads to (RFC 5321).

It translates; L{post.mail.inbound} decides who is somebody here, L{post.gateway.verification} what a message is worth.
Nothing is relayed: a recipient is an account of the domain, or refused.
"""

from __future__ import annotations

from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Literal

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IAddress, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.logger import Logger

from post.errors import NotFound, PostError
from post.gateway.dns import Dns, DnsUnavailable, encode_name
from post.gateway.greylist import Greylist
from post.gateway.sources import Sources, net_of
from post.gateway.verification import Advice, Verdict, Verifier
from post.mail.headers import raw_fields
from post.mail.interfaces import IInbound, Octets, RecipientOutside, RecipientUnknown
from post.mail.mime import header_end
from post.smtp.grammar import Syntax, host_name, path
from post.smtp.replies import Reply
from post.smtp.server import COMMANDS, CONNECTIONS_LIMIT, RECIPIENTS_LIMIT, SmtpFactory, SmtpServer

HOPS_LIMIT = 100
"""Received fields of a message that has not gone in a circle (RFC 5321, 6.3)."""
PACE_S = 60.0
"""Between two looks at whether a client gets on."""
PACE_OCTETS = 1024
"""Of a message that have to come in that time; less is somebody who wants to keep us busy."""
RELAY: Reply = (550, "5.7.1", "Relaying is not permitted: that address is of another domain.")


class MxProtocol(SmtpServer):
    """
    One connection.
    """

    log = Logger()
    about = "This is a mail exchanger of a POST organization."
    _factory: MxFactory

    def __init__(self, factory: MxFactory, source: str) -> None:
        super().__init__(factory, source)
        self._net = net_of(source)
        self._named = "unknown"
        self._judged = False
        self._seen = 0
        self._octets = 0
        self._pace: Any = None  # A timer.

    @property
    def stranger(self) -> bool:
        """
        Whether no message has been begun.
        """
        return self._sender is None and self._data is None and not self._busy

    def connectionMade(self) -> None:
        super().connectionMade()
        self._pace = self._factory.clock.callLater(PACE_S, self._check_pace)
        Deferred.fromCoroutine(self._look_up())

    def connectionLost(self, reason: object = None) -> None:
        super().connectionLost(reason)
        self._factory.sources.disconnect(self._net)
        if self._pace is not None and self._pace.active():
            self._pace.cancel()

    def dataReceived(self, data: bytes) -> None:
        self._octets += len(data)
        super().dataReceived(data)

    def _check_pace(self) -> None:
        """
        End a connection that drips: it costs its client nothing, and us a place.
        """
        came, self._seen = self._octets - self._seen, self._octets
        unfinished = self._data is not None or self._lines.waiting > 0
        if unfinished and came < PACE_OCTETS and not (self._busy or self._full or self._gone):
            self.leave(421, "4.4.2", "Too slow.")
        if not self._gone:
            self._pace = self._factory.clock.callLater(PACE_S, self._check_pace)

    async def _look_up(self) -> None:
        """
        What the source is called, if the name leads back to it.
        """
        dns = self._factory.dns
        try:
            for name in (await dns.ptr(self._source))[:3]:
                if self._source in await dns.addresses(name):
                    # Whoever has an address has its name: any octets.
                    self._named = host_name(name.encode("utf-8", "replace"))
                    return
        except (NotFound, DnsUnavailable, ValueError):
            pass

    # A message.

    def _do_mail(self, argument: bytes) -> Coroutine[Any, Any, None] | None:
        sender, parameters = path(argument, b"FROM:")
        if not self._helo:
            self._reply(503, "5.5.1", "Say hello first.")
        elif self._sender is not None:
            self._reply(503, "5.5.1", "One message at a time.")
        elif not _is_sender(sender):
            self._reply(553, "5.1.7", "That is no address to which anybody could answer.")
        elif self._accept_parameters(parameters):
            return self._begin_message(sender)
        return None

    async def _begin_message(self, sender: str) -> None:
        if not self._judged and await self._factory.is_listed(self._source):
            self.leave(554, "5.7.1", f"{self._source} is on a block list.")
            return
        self._judged = True
        if not self._factory.sources.messages.take(self._net):
            self._reply(451, "4.7.1", f"Too many messages from {self._source} at once. Try again in a minute.")
            return
        self._sender, self._recipients = sender, []
        self._reply(250, "2.1.0", "Ok.")

    def _do_rcpt(self, argument: bytes) -> Coroutine[Any, Any, None] | None:
        recipient, parameters = path(argument, b"TO:")
        if self._sender is None:
            self._reply(503, "5.5.1", "MAIL comes first.")
        elif parameters:
            self._reply(555, "5.5.4", "That parameter is not supported.")
        elif not recipient:
            raise Syntax("write TO:<address>")
        elif recipient in self._recipients:
            self._reply(250, "2.1.5", "Ok.")
        elif len(self._recipients) >= RECIPIENTS_LIMIT:
            self._reply(452, "4.5.3", "Too many recipients for one message.")
        else:
            return self._add_recipient(self._sender, recipient)
        return None

    async def _add_recipient(self, sender: str, recipient: str) -> None:
        misses = self._factory.sources.misses
        if not misses.has(self._net):
            self._bad(450, "4.7.1", f"Too many recipients from {self._source} are nobody here. Try again in an hour.")
            return
        try:
            await self._factory.inbound.check_recipient(recipient)
        except (RecipientUnknown, RecipientOutside) as error:
            # Whoever tries one name after another is soon shown the door.
            misses.take(self._net)
            routed = isinstance(error, RecipientOutside) or set('%!"@') & set(recipient.rpartition("@")[0])
            self._bad(*(RELAY if routed else (550, "5.1.1", "There is no such person here.")))
            return
        if self._factory.greylist.passes(self._net, sender, recipient):
            self._recipients.append(recipient)
            self._reply(250, "2.1.5", "Ok.")
        else:
            self._reply(450, "4.7.1", "You are new here: please try again in a minute, as mail servers do.")

    async def _accept(self, sender: str, recipients: list[str], message: Octets) -> str:
        factory = self._factory
        header = bytes(message[: header_end(message)])
        if sum(name == b"received" for name, _ in raw_fields(header)) > HOPS_LIMIT:
            raise Syntax("this message goes in a circle", 554, "5.4.6")
        helo = self._helo.decode("ascii", "replace")
        verdict = await factory.verifier.examine(self._source, helo, sender, message)
        advice = factory.advice(verdict)
        if advice is Advice.REJECT and verdict.uncertain:
            raise Syntax("whether this message is forged cannot be known now", 451, "4.7.0")
        if advice is Advice.REJECT:
            raise Syntax(f"the DMARC policy of {verdict.domain} says that this message is not from there", 550, "5.7.1")
        how = ("ESMTPS" if self._tls else "ESMTP") if self._extended else "SMTP"
        trace = verdict.results + self._received(f"{self._named} {self._literal()}", factory.name, how)
        # The client may go away meanwhile; if it sends the same again, that is the same message.
        return await factory.inbound.accept(sender, recipients, message, trace, advice is Advice.JUNK)

    commands = {**COMMANDS, b"MAIL": _do_mail, b"RCPT": _do_rcpt}


def _is_sender(address: str) -> bool:
    """
    Whether it is an envelope sender: nobody, or somebody at a domain.
    """
    if not address:
        return True
    local, at, domain = address.rpartition("@")
    try:
        return bool(local and at and encode_name(domain))
    except NotFound:
        return False


class _TurnedAway(Protocol):
    """
    A connection too many.
    """

    def connectionMade(self) -> None:
        self.transport.write(b"421 4.7.0 Too many connections from you. Try again later.\r\n")  # type: ignore[union-attr]
        self.transport.loseConnection()  # type: ignore[union-attr]


@dataclass(frozen=True)
class MxPolicy:
    """
    What a gateway's settings say about messages (see L{post.config.Gateway}).
    """

    dmarc: Literal["honor", "junk", "note"] = "honor"
    dnsbl: tuple[str, ...] = ()


class MxFactory(SmtpFactory):
    """
    Makes connections, up to limits.
    """

    log = Logger()
    connections: dict[MxProtocol, None]  # type: ignore[assignment]  # Its own are the only ones in it.

    def __init__(
        self,
        inbound: IInbound,
        verifier: Verifier,
        dns: Dns,
        greylist: Greylist,
        sources: Sources,
        policy: MxPolicy,
        clock: IReactorTime,
        tls: Any,  # Whatever the transport's startTLS takes.
        host: str,
        spool_dir: str | None = None,
    ) -> None:
        super().__init__(clock, tls, False, inbound.size_limit, host, spool_dir)
        self.inbound = inbound
        self.verifier = verifier
        self.dns = dns
        self.greylist = greylist
        self.sources = sources
        self._policy = policy

    def buildProtocol(self, addr: IAddress | None) -> Protocol | None:
        source = str(getattr(addr, "host", "unknown"))
        if len(self.connections) >= CONNECTIONS_LIMIT:
            # Whoever only opens connections does not shut out those who have something to send.
            stranger = next((each for each in self.connections if each.stranger), None)
            if stranger is None:
                return None
            stranger.drop()
        if not self.sources.connect(net_of(source)):
            return _TurnedAway()
        return MxProtocol(self, source)

    def advice(self, verdict: Verdict) -> Advice:
        """
        What is done with a message that was examined.
        """
        most = {"honor": Advice.REJECT, "junk": Advice.JUNK, "note": Advice.ACCEPT}[self._policy.dmarc]
        return min(verdict.advice, most)

    async def is_listed(self, source: str) -> bool:
        """
        Whether a block list that we ask names C{source}.  One that does not answer says nothing.
        """
        for zone in self._policy.dnsbl:
            try:
                found = await self.dns.listed(source, zone)
            except (PostError, ValueError):
                continue
            # 127.255.255.x is no entry: the list says that it does not want to be asked this way (RFC 5782).
            if any(each.startswith("127.") and not each.startswith("127.255.255.") for each in found):
                return True
        return False
