"""
The patience and the sizes of the overlay.
"""

from __future__ import annotations

from dataclasses import dataclass

from post.pastry.leafset import HALF

VERDICT_S = 5.0
"""The most that it takes from the first probe that is not answered until a node counts as dead, if others are slow to
say whether they reach it; most often it is half of that."""


@dataclass(frozen=True, kw_only=True)
class PastryConfig:
    """
    How Pastry behaves.  The defaults suit rings of 5 to 1,000 desktops.
    """

    half: int = HALF
    """Members on each side of the leaf set.  With 12 on a side, half of all nodes may die in one instant and still
    all but one side in 4,096 has a survivor, from which it is repaired."""

    heartbeat_s: float = 10.0
    """Between two heartbeats to the next node clockwise, unless that was heard from meanwhile.  Whoever hears nothing
    from the one before it for a quarter more than that looks after it.  This is only for nodes that die without a word
    and that nobody needs: a broken link, or a question without an answer, tells sooner.  (MSPastry: 30 s.)"""

    heartbeat_least_s: float = 3.0
    """Where nodes die often heartbeats come more often, down to this."""

    dead_leaves: float = 0.003
    """The part of all messages whose root may be dead without anybody knowing: these wait until that is found out."""

    @staticmethod
    def silence_limit_s(every_s: float) -> float:
        """
        The silence after which a node is asked whether it is alive that sends heartbeats C{every_s}.  Over a link they
        are not lost, only late; and the question costs no more than two of them.
        """
        return 1.25 * every_s + 1.0

    @property
    def notice_s(self) -> float:
        """
        Until everybody near a node that falls silent, and that nobody asks anything, holds it for dead; besides round
        trips.  Its watcher misses it, and probes in vain; then the others do.
        """
        return self.silence_limit_s(self.heartbeat_s) + 2 * VERDICT_S

    digest_s: float = 60.0
    """A heartbeat goes out at least this often, whatever was heard, since it carries the digest by which two neighbors
    see that their leaf sets agree."""

    probe_s: float = 1.0
    """For a probe to be answered, besides two round trips.  A desktop that swaps is often silent for a second."""

    probe_tries: int = 2
    """Probes without an answer after which a node counts as dead."""

    hop_least_s: float = 0.03
    """On top of the round trip, a hop has at least this time to be acknowledged before the message goes another way: a
    node that is not busy answers within some milliseconds."""

    hop_most_s: float = 0.5
    """And at most this.  Where it is between these follows from how late acknowledgements have been lately."""

    hop_stranger_s: float = 1.0
    """The same where no round trip has been measured: a link has to be made first, in two of them."""

    hop_limit: int = 64
    """Hops after which a message is dropped.  Above forty digits it must be going in circles."""

    hold_s: float = 0.1
    """Before a message that could not be decided upon (its root is joining, or suspected) is looked at again."""

    hold_most_s: float = 60.0
    """For which that is done: longer than it takes to find out who is dead, by way of others too, or to start anew."""

    held_s: float = 1.0
    """A message that the next hop holds is offered to it again after so long, and goes another way if it died."""

    held_limit: int = 1000
    """Messages of our own on their way at once; more are refused.  The same for those of all others together, of which
    one peer gets half at the most (L{post.pastry.quotas.Shares})."""

    lookup_s: float = 2.0
    """For the root of a key to answer, before it is asked again on what may be another way."""

    lookup_tries: int = 4
    """How often it is asked.  Then it counts as unreachable."""

    cache_s: float = 10.0
    """For which the answer of a root is used for other keys in the same range."""

    cache_ranges: int = 256
    """How many of them."""

    absent_first_s: float = 10.0
    """After its death, until a node is tried again.  Most come back within a minute: a restart, a cable, a nap."""

    absent_most_s: float = 300.0
    """The time between two tries doubles up to this.  For 100 nodes that are gone for good that is a dial each 3 s."""

    absent_limit: int = 256
    """Nodes remembered for that: the ones that died last.  One of them is enough to find a lost ring again."""

    seed_s: float = 1.5
    """For a seed to answer a newcomer, before it is passed over for this round."""

    join_first_s: float = 0.2
    """Between two rounds of looking for a ring, at first.  Short: when a whole ring is switched on, all wait for the
    one that will found it."""

    join_limit: int = 4
    """Newcomers that come in beside one node at once.  Well below C{half}, so that the nodes which are in the ring see
    one another past those that are not; with a whole ring switched on at once it still doubles in each round."""

    join_entry_s: float = 3.0
    """For which a place among these is kept for a newcomer that was told to come in."""

    join_most_s: float = 10.0
    """Where the doubling of that ends.  It goes on for ever."""

    join_alone_s: float = 5.0
    """How long a newcomer that is in no list of seeds waits for the others to found a ring, when some of its seeds do
    not answer."""

    join_sighted_s: float = 60.0
    """How long after the last word of somebody in a ring no other is founded.  If all of that ring are gone by then,
    nothing is lost by a new one."""

    beat_s: float = 1.0
    """Between two looks at the clock, by which a node sees that it was not running."""

    asleep_s: float = 2.0
    """Beyond that, and we may be dead to the others: about as long as they take to find out."""

    mend_most_s: float = 30.0
    """Between two attempts to complete a leaf set, at most."""

    seek_s: float = 60.0
    """Between two looks at whether a seed that is not near us is in another ring.  Rings that arose apart are one after
    about so long; a seed that is off costs one attempt to link."""

    reunite_s: float = 20.0
    """Between two looks for somebody whom this node, or its last life, was linked with and has lost sight of.  Where
    nobody is, nothing is sent."""
    seek_most_s: float = 1920.0
    """The time doubles up to this with each seed that is found in our own ring: rings arise apart when they are young.
    Those that were torn apart find each other by whom they miss."""

    measure_first: int = 100
    """Nodes that may be asked in one go how far they are: about twice as many as a table of 10,000 nodes has."""

    measure_s: float = 120.0
    """After these one more in so long, while there is somebody new to be asked."""

    improve_s: float = 1200.0
    """Between two questions to somebody near for whom it has in its table (MSPastry and Pastry: 20 minutes)."""

    dead_hops: float = 0.03
    """The part of all messages that may meet a node which has died, before it goes another way.  By this, and by how
    often others die, is judged how often nodes of the table are asked whether they are alive (MSPastry: 0.05)."""

    row_least_s: float = 15.0
    """A node of the table is asked no sooner than so long after it was heard from."""

    row_most_s: float = 3600.0
    """And no later than so long after, however long nodes live: holes in its row are filled on that occasion."""
