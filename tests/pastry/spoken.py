"""
Messages made from their definitions, for whoever says anything that can be said: the fields and limits that L{msgspec}
checks are those from which values are drawn, so a message that is added is drawn too.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import cycle, islice
from random import Random
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

from post import wire
from post.ids import Id
from post.pastry.messages import Claim, Find, Found, Route
from post.wire import Message, encode
from tests.pastry.rings import Parcel
from tests.pastry.strategies import nodes

PASTRY = tuple(decoder.type for tag, decoder in sorted(wire._types.items()) if tag >> 4 in (0x1, 0x8))
"""All kinds of messages of Pastry (see L{wire.message}), after all its modules have been imported."""
RELAYING = tuple(decoder.type for tag, decoder in sorted(wire._types.items()) if 0x70 <= tag <= 0x76)
"""All kinds of frames by which nodes talk by way of others."""
LARGEST = 1 << 62
SOME = 3
"""Things drawn one by one; longer sequences repeat them."""


def instances(kind: type[Any], ids: st.SearchStrategy[Any] = nodes) -> st.SearchStrategy[Any]:
    """
    Values of the struct C{kind}: each field within its limits, and often at them; ids are drawn from C{ids}.
    """
    description = inspect.type_info(kind)
    assert isinstance(description, inspect.StructType)
    return _struct(description, ids)


def payloads(ids: st.SearchStrategy[Any] = nodes) -> st.SearchStrategy[bytes]:
    """
    What is routed: a message for an application, for Pastry itself, or none.
    """
    known = (instances(kind, ids).map(encode) for kind in (Find, Found, Claim))
    return st.one_of(st.binary(max_size=40), st.integers(0, 5).map(lambda number: encode(Parcel(number))), *known)


def messages(
    ids: st.SearchStrategy[Any] = nodes, kinds: tuple[type[Message], ...] = PASTRY
) -> st.SearchStrategy[Message]:
    """
    Any message of C{kinds}.
    """
    return st.one_of([instances(kind, ids) for kind in kinds])


def made(kind: type[Any], random: Random, ids: Callable[[], Any]) -> Any:
    """
    One C{kind} by chance, as long as it may be, quickly: for floods.
    """
    description = inspect.type_info(kind)
    assert isinstance(description, inspect.StructType)
    return _made(description, random, ids)


def _made(kind: inspect.Type, random: Random, ids: Callable[[], Any]) -> Any:
    match kind:
        case inspect.BoolType():
            return random.random() < 0.5
        case inspect.IntType():
            low, high = _range(kind)
            return random.choice([low, random.randint(low, high)])
        case inspect.FloatType():
            return random.uniform(kind.ge or 0.0, kind.le or 0.0)
        case inspect.BytesType():
            return random.randbytes(random.choice([kind.min_length or 0, min(kind.max_length or 0, 2048)]))
        case inspect.StrType():
            return "nobody:1"
        case inspect.CustomType():
            return ids()
        case inspect.NoneType():
            return None
        case inspect.UnionType():
            return _made(random.choice(kind.types), random, ids)
        case inspect.VarTupleType():
            count = random.choice([0, 1, 1, 2, 2, 3, 3, kind.max_length or 0])
            return tuple(_made(kind.item_type, random, ids) for _ in range(count))
        case inspect.StructType():
            values = {field.name: _made(field.type, random, ids) for field in kind.fields}
            if kind.cls is Route:
                values["payload"] = random.choice([encode(Parcel(7)), encode(Find(3)), encode(Claim(bytes(16)))])
            return kind.cls(**values)
    raise TypeError(f"no values of {kind}")


def _range(kind: inspect.IntType) -> tuple[int, int]:
    low = kind.ge if kind.ge is not None else 0
    return low, kind.le if kind.le is not None else (kind.lt if kind.lt is not None else LARGEST) - 1


def mutated(data: st.DataObject, body: bytes) -> bytes:
    """
    C{body} with some bytes changed, and cut off somewhere.
    """
    broken = bytearray(body)
    for _ in range(data.draw(st.integers(0, 3))):
        broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    return bytes(broken[: data.draw(st.integers(0, len(broken)))])


def _struct(description: inspect.StructType, ids: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    fields = {field.name: _value(field.type, ids) for field in description.fields}
    if description.cls is Route:
        fields["payload"] = payloads(ids)
    return st.builds(description.cls, **fields)


def _value(kind: inspect.Type, ids: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    match kind:
        case inspect.BoolType():
            return st.booleans()
        case inspect.IntType():
            low, high = _range(kind)
            return st.one_of(st.integers(low, min(high, low + 8)), st.integers(low, high), st.just(high))
        case inspect.FloatType():
            return st.floats(kind.ge, kind.le, allow_nan=False)
        case inspect.BytesType():
            return _bytes(kind.min_length or 0, kind.max_length or 0)
        case inspect.StrType():
            return st.one_of(st.just("nobody:1"), st.text(max_size=kind.max_length))
        case inspect.CustomType(cls=cls) if cls is Id:
            return ids
        case inspect.NoneType():
            return st.none()
        case inspect.UnionType():
            return st.one_of([_value(each, ids) for each in kind.types])
        case inspect.VarTupleType():
            return _tuple(_value(kind.item_type, ids), kind.max_length or 0)
        case inspect.StructType():
            return _struct(kind, ids)
    raise TypeError(f"no values of {kind}")


def _bytes(least: int, most: int) -> st.SearchStrategy[bytes]:
    some = st.binary(min_size=least, max_size=min(most, max(least, 24)))
    return st.one_of(some, st.binary(min_size=1, max_size=8).map(lambda piece: (piece * most)[:most]))


def _tuple(item: st.SearchStrategy[Any], most: int) -> st.SearchStrategy[tuple[Any, ...]]:
    some = st.lists(item, max_size=min(SOME, most)).map(tuple)
    full = st.lists(item, min_size=1, max_size=SOME).map(lambda few: tuple(islice(cycle(few), most)))
    return st.one_of(some, full)
