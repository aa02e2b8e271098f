"""
The limits and patience of links.
"""

from __future__ import annotations

from dataclasses import dataclass

from post.wire import PROTOCOL_HIGHEST, PROTOCOL_LOWEST

MIB = 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class LinkConfig:
    """
    How links behave.  The defaults suit desktops on home and office lines.
    """

    connect_s: float = 5.0
    """For one address to accept a TCP connection.  Longer than any round trip; short, because the next address and
    the next peer are waiting."""

    handshake_s: float = 10.0
    """From a TCP connection to a link that is up.  A stranger who says nothing holds a socket for no longer."""

    leave_s: float = 3.0
    """For an orderly end of a link; after that it is cut."""

    tend_s: float = 5.0
    """Between two looks at all links: who needs a ping, is idle, has an expired certificate.  The times below are
    kept to this precision."""

    ping_s: float = 60.0
    """Between two pings, which are sent only where something was said and nothing heard since.  A link on which nothing
    at all came since the last one is dead: it is cut.  This backstop lies far behind the probes of Pastry, and also
    catches a peer that no longer reads."""

    unacknowledged_s: float = 30.0
    """What a peer's computer does not acknowledge for so long breaks the link, where the kernel can do that
    (TCP_USER_TIMEOUT); else a ping finds it out later."""

    keep_alive_s: float = 240.0
    """A link on which nothing is said is looked after by the kernel, so often that routers do not forget it (most keep
    a connection for five minutes at least)."""

    idle_s: float = 5400.0
    """A link that carried no frame for so long is closed.  Pastry asks each node of its table once an hour at least,
    so links to these stay, and chance acquaintances do not.  Above the longest deadline of L{post.rpc} (300 s), so
    that no question is open on an idle link."""

    recheck_s: float = 3600.0
    """Between two checks that the peer's certificate is still valid."""

    hello_limit_bytes: int = 4096
    """Of a frame before both HELLOs: a HELLO with four addresses takes less than 500 bytes."""

    queue_bytes: int = 8 * MIB
    """Waiting to be sent to one peer.  About one second on a fast line; bulk may fill three quarters of it, so that
    there is room for what is urgent."""

    queue_frames: int = 10_000
    """The same, counted in frames, because a small frame costs far more memory than its bytes."""

    queues_bytes: int = 256 * MIB
    """Waiting to be sent to all peers together."""

    bulk_low_bytes: int = 256 * 1024
    """L{post.interfaces.ITransport.writable} fires when fewer bytes of bulk wait for the peer.  Four frames: enough
    never to let the line run dry, and little to be thrown away when the link is lost."""

    batch_bytes: int = 64 * 1024
    """Handed to TLS in one piece.  Twisted pauses us when its own buffer passes 64 KiB, so at most twice this is
    past recall when an urgent frame comes."""

    unsent_bytes: int = 128 * 1024
    """Kept by the kernel beyond what the peer's window takes (TCP_NOTSENT_LOWAT, where there is one).  Without it, a
    slow line has seconds of bulk in front of a heartbeat."""

    link_limit: int = 1024
    """Links kept up at once; for one more, the least recently used is closed.  At about 50 KiB each, 50 MiB."""

    unproven_limit: int = 256
    """Inbound connections that have not finished their handshake; more are closed at once."""

    unproven_per_source: int = 64
    """The same per source address.  Many nodes may stand behind one address (a router, or C{post ring})."""

    dial_limit: int = 128
    """Peers being dialled at once."""

    backoff_first_s: float = 0.5
    """After the first failure to reach a peer.  It doubles with each further failure, and each wait is shortened by a
    random part of up to a half."""

    backoff_most_s: float = 30.0
    """Where doubling ends.  An attempt costs one TCP connection, so half a minute is cheap, and a peer that returned
    is found soon even if it does not dial itself."""

    steady_s: float = 5.0
    """A link that lasted for less counts as a failure to reach the peer, so that nobody is dialled in a tight
    circle."""

    lowest: int = PROTOCOL_LOWEST
    """The oldest protocol version that we speak."""

    highest: int = PROTOCOL_HIGHEST
    """The newest protocol version that we speak."""

    features: int = 0
    """The feature bits that we offer; those offered by both sides are in use."""
