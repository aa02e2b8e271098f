"""
What reviewers would otherwise have to look for: the direction of imports, purity, docstrings, tags.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import walk_packages

from twisted.trial.unittest import SynchronousTestCase

import post
from post import wire
from post.config import Settings, load
from post.hashes import Purpose

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "post"

RANKS: tuple[tuple[str, ...], ...] = (
    ("errors", "ids", "hashes"),
    ("wire", "tasks", "complaints", "config", "files", "commit", "lifeline", "occupant"),
    ("interfaces",),
    ("crypto",),
    ("relay",),
    ("rpc", "journal", "backup", "control", "process", "logs", "migration", "supervision"),
    ("pastry",),
    ("past", "scribe", "notices"),
    ("messaging",),
    ("mail", "im"),
    ("smtp", "accounts"),
    ("node",),
    ("health",),
    ("net", "sim", "front", "home"),
    ("gateway", "ca", "moving"),
    ("daemon",),
    ("tap", "cli"),
)
"""Each row may import the rows above it.  Of one row, only the first and second may import one another (downward)."""

GROUND = frozenset(name for row in RANKS[:2] for name in row)
SIBLINGS_APART = frozenset(
    {"past", "scribe", "notices", "mail", "im", "net", "sim", "front", "gateway", "ca", "moving"}
)

WORLDLY = frozenset({"daemon", "tap", "cli", "lifeline", "sim", "control", "process", "supervision", "occupant"})
"""Where the real world is touched (or, for the simulator, imitated)."""

FORBIDDEN_CALLS = frozenset(
    {
        "time.time",
        "time.monotonic",
        "time.sleep",
        "os.urandom",
        "random.random",
        "random.randint",
        "random.choice",
        "random.uniform",
        "random.shuffle",
        "datetime.now",
        "datetime.utcnow",
        "datetime.datetime.now",
        "secrets.token_bytes",
        "uuid.uuid4",
    }
)


def modules() -> Iterator[tuple[str, Path]]:
    """
    Every module of ours, by its dotted name without C{post.}.
    """
    for path in sorted(PACKAGE.rglob("*.py")):
        name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        yield name.removesuffix(".__init__") or "__init__", path


@cache
def tree(path: Path) -> ast.Module:
    """
    A module, parsed.
    """
    return ast.parse(path.read_text())


def rank(package: str) -> int:
    """
    In which row of L{RANKS} a package stands.
    """
    return next(place for place, row in enumerate(RANKS) if package in row)


def imports(module: ast.Module) -> Iterator[str]:
    """
    The full names of what is imported anywhere in a module, but for what only type checkers see.
    """
    hidden = {
        id(node)
        for guard in ast.walk(module)
        if isinstance(guard, ast.If) and isinstance(guard.test, ast.Name) and guard.test.id == "TYPE_CHECKING"
        for node in ast.walk(guard)
    }
    for node in ast.walk(module):
        if id(node) in hidden:
            continue
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def reaches(module: ast.Module) -> Iterator[tuple[int, str]]:
    """
    The calls in a module of what is L{FORBIDDEN_CALLS}, by line.  An argument that is called C{random} is what was
    passed in; only a module that imports C{random} itself can reach for it.
    """
    bound = {
        (alias.asname or alias.name).partition(".")[0]
        for node in ast.walk(module)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }
    for node in ast.walk(module):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute | ast.Name):
            name = ast.unparse(node.func)
            if name in FORBIDDEN_CALLS and name.partition(".")[0] in bound:
                yield node.lineno, name


def real_messages() -> list[tuple[type, bytes]]:
    """
    The messages that travel between real nodes, and their tags: all but those of the simulator.
    """
    kinds = [(kind, tag, kind.__module__.split(".")) for kind, tag in wire._tags.items()]
    return [(kind, tag) for kind, tag, module in kinds if module[0] == "post" and module[1] != "sim"]


class TidyTests(SynchronousTestCase):
    """
    Tests of the sources.
    """

    def test_layers(self) -> None:
        """
        Imports point down the layers, and siblings do not know of one another.
        """
        wrong = []
        for name, path in modules():
            package = name.partition(".")[0]
            if package == "__init__":
                continue
            for imported in imports(tree(path)):
                if not imported.startswith("post."):
                    continue
                other = imported.split(".")[1]
                if other == package or not ((PACKAGE / other).exists() or (PACKAGE / f"{other}.py").exists()):
                    continue
                if rank(other) > rank(package):
                    wrong.append(f"{name} imports {imported}, which stands above it")
                elif rank(other) == rank(package) and {other, package} <= SIBLINGS_APART:
                    wrong.append(f"{name} imports its sibling {imported}")
        self.assertEqual([], sorted(set(wrong)))

    def test_ranked(self) -> None:
        """
        Every package has its place.
        """
        names = {name.partition(".")[0] for name, _ in modules()} - {"__init__"}
        self.assertEqual(set(), names - {name for row in RANKS for name in row})

    def test_reactor(self) -> None:
        """
        The reactor is imported inside one function of C{tap.py}, and nowhere else.
        """
        found = [
            name
            for name, path in modules()
            for imported in imports(tree(path))
            if imported == "twisted.internet.reactor"
        ]
        self.assertEqual(["tap"], found)
        top = [node for node in tree(PACKAGE / "tap.py").body if isinstance(node, ast.ImportFrom)]
        self.assertFalse([node for node in top for alias in node.names if alias.name == "reactor"])

    def test_given(self) -> None:
        """
        Protocol code does not reach for time or chance; they are passed in.
        """
        found = []
        for name, path in modules():
            if name.partition(".")[0] in WORLDLY or name == "crypto.entropy":
                continue
            found += [f"{name}:{line} calls {call}" for line, call in reaches(tree(path))]
        self.assertEqual([], found)

    def test_pure(self) -> None:
        """
        Modules that say in their docstring's first paragraph that they are pure know neither Deferreds nor clocks.
        """
        found = []
        pure = 0
        for name, path in modules():
            first = (ast.get_docstring(tree(path)) or "").partition("\n\n")[0]
            if not re.search(r"\(pure\b|\bPure\.", first):
                continue
            pure += 1
            found += [f"{name} imports {each}" for each in imports(tree(path)) if each.startswith("twisted")]
        self.assertEqual([], found)
        self.assertGreater(pure, 5)

    def test_docstrings(self) -> None:
        """
        Every module and every public class and function has a docstring, but for what Twisted looks up by name.
        """
        found = []
        for name, path in modules():
            module = tree(path)
            if not ast.get_docstring(module):
                found.append(name)
            for node in module.body:
                if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                    public = not node.name.startswith("_")
                    if public and not ast.get_docstring(node) and not re.search(r"[a-z][A-Z]", node.name[1:]):
                        found.append(f"{name}.{node.name}")
        self.assertEqual([], [each for each in found if not each.endswith("makeService")])

    def test_tags(self) -> None:
        """
        Each message has its own tag in the block of its layer (L{wire.message} refuses one that is taken).
        """
        for module in walk_packages(post.__path__, "post."):
            if module.name.split(".")[1] not in ("cli", "sim"):
                import_module(module.name)
        blocks = {
            0x00: ("rpc", "net"),
            0x10: ("pastry",),
            0x20: ("past",),
            0x30: ("scribe",),
            0x40: ("messaging",),
            0x50: ("mail",),
            0x60: ("notices",),
            0x70: ("relay",),
            0x80: ("pastry",),
        }
        for kind, tag in real_messages():
            self.assertIn(kind.__module__.split(".")[1], blocks[tag[1] & 0xF0], kind)

    def test_formats(self) -> None:
        """
        C{docs/formats.md} names every purpose, and the tags of every message.
        """
        text = (ROOT / "docs" / "formats.md").read_text()
        self.assertEqual([], [each.name for each in Purpose if f"`{each.value.decode().split(':')[1]}`" not in text])
        for module in walk_packages(post.__path__, "post."):
            if module.name.split(".")[1] not in ("cli", "sim"):
                import_module(module.name)
        named = set()
        for first, last in re.findall(r"\| (0x[0-9A-F]{2})(?:(?: to|,) (0x[0-9A-F]{2}))? \|", text):
            named |= set(range(int(first, 16), int(last or first, 16) + 1))
        self.assertEqual({tag[1] for _, tag in real_messages()}, named)

    def test_settings(self) -> None:
        """
        Every example in C{conf} loads, and C{conf/node.toml} shows every setting with its default.
        """
        examples = sorted((ROOT / "conf").glob("*.toml"))
        self.assertIn("node.toml", [path.name for path in examples])
        for path in examples:
            load(path)
        text = (ROOT / "conf" / "node.toml").read_text()
        # Settings that are shown are commented out; uncommented they are the defaults.
        shown = re.sub(r"(?m)^#([a-z0-9_]+ =)", r"\1", text)
        (scratch := Path(self.mktemp())).write_text(shown)
        self.assertEqual(Settings(), load(scratch).settings)
        raw = tomllib.loads(shown)
        for section in ("links", "mail", "web", "files", "authority", "gateway", "limits", "log"):
            fields = set(type(getattr(Settings(), section)).__struct_fields__)
            self.assertEqual(fields, set(raw[section]), section)

    def test_names(self) -> None:
        """
        No module is called something that says nothing.
        """
        names = {name.rpartition(".")[2] for name, _ in modules()}
        self.assertEqual(set(), names & {"utils", "util", "common", "helpers", "manager", "handlers", "misc"})
