"""
Receipts for stored objects: evidence that a holder has made something durable, at a fraction of a signature each.

All stores that become durable in one commit are leaves of one Merkle tree, whose root the holder signs once.  A receipt
is the claim's time, the leaf's place, the path to the root, and that signature.  The inserter knows the rest of the
claim, having asked for it: handle, hash of the data, class and expiry.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from post.crypto.keys import SigningKey, verify
from post.errors import BadSignature
from post.hashes import Purpose, tagged
from post.ids import Handle
from post.past.messages import Kept
from post.wire import pack

VERIFIED_KEPT = 1024
BATCH_LIMIT = 1 << 12


def leaf(handle: Handle, digest: bytes, storage_class: int, expires: int, at: int) -> bytes:
    """
    What one receipt claims, as a leaf of the tree.
    """
    return tagged(Purpose.RECEIPT_LEAF, pack((handle, digest, int(storage_class), expires, at)))


def tree(leaves: Sequence[bytes]) -> tuple[bytes, list[tuple[bytes, ...]]]:
    """
    The root over C{leaves} (at least one), and the path of each.
    """
    paths: list[list[bytes]] = [[] for _ in leaves]
    level = list(leaves)
    depth = 0
    while len(level) > 1:
        if len(level) % 2:
            level.append(level[-1])
        for index, path in enumerate(paths):
            path.append(level[(index >> depth) ^ 1])
        level = [tagged(Purpose.RECEIPT_NODE, level[i], level[i + 1]) for i in range(0, len(level), 2)]
        depth += 1
    return level[0], [tuple(path) for path in paths]


def climb(leaf: bytes, index: int, path: Sequence[bytes]) -> bytes:
    """
    The root to which C{path} leads from C{leaf}.
    """
    for sibling in path:
        pair = (sibling, leaf) if index & 1 else (leaf, sibling)
        leaf = tagged(Purpose.RECEIPT_NODE, *pair)
        index >>= 1
    return leaf


class Signer:
    """
    Signs what became durable in this turn of the reactor, at its end.
    """

    def __init__(self, key: SigningKey, clock: IReactorTime) -> None:
        self._key = key
        self._clock = clock
        self._waiting: list[tuple[bytes, int, Deferred[Kept]]] = []

    def receipt(self, handle: Handle, digest: bytes, storage_class: int, expires: int) -> Deferred[Kept]:
        """
        The receipt for something that is durable now.
        """
        at = int(self._clock.seconds())
        done: Deferred[Kept] = Deferred()
        if not self._waiting:
            self._clock.callLater(0, self._sign)
        self._waiting.append((leaf(handle, digest, storage_class, expires, at), at, done))
        return done

    def _sign(self) -> None:
        batch, self._waiting = self._waiting[:BATCH_LIMIT], self._waiting[BATCH_LIMIT:]
        if self._waiting:
            self._clock.callLater(0, self._sign)
        root, paths = tree([each[0] for each in batch])
        signature = self._key.sign(Purpose.SIGN_RECEIPTS, root)
        for index, (_, at, done) in enumerate(batch):
            if not done.called:
                done.callback(Kept(at, index, paths[index], signature))


class Verifier:
    """
    Checks receipts; one batch costs one signature check.
    """

    def __init__(self) -> None:
        self._verified: OrderedDict[tuple[bytes, bytes, bytes], None] = OrderedDict()

    def check(
        self, kept: Kept, public_key: bytes, handle: Handle, digest: bytes, storage_class: int, expires: int
    ) -> None:
        """
        @raise BadSignature: unless the holder of C{public_key} gave C{kept} for exactly this.
        """
        if kept.index >> len(kept.path):
            raise BadSignature("a receipt with a place outside its tree")
        root = climb(leaf(handle, digest, storage_class, expires, kept.at), kept.index, kept.path)
        named = (public_key, root, kept.signature)
        if named in self._verified:
            return
        verify(public_key, Purpose.SIGN_RECEIPTS, root, kept.signature)
        self._verified[named] = None
        if len(self._verified) > VERIFIED_KEPT:
            self._verified.popitem(last=False)
