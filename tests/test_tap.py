"""
Tests for L{post.tap}: C{twistd post} as real processes, and how it reaches twistd at all.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import sys
import zipfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from post.files import lock, write_secret
from tests.cli.commands import Organisation
from tests.scratch import scratch

ROOT = Path(__file__).parent.parent
TWISTD = (sys.executable, "-c", "from twisted.scripts.twistd import run; run()")
PATIENCE_S = 60


class Twistd:
    """
    A C{twistd post} that has been started.
    """

    def __init__(self, config: Path) -> None:
        command = (*TWISTD, "--nodaemon", "--pidfile=", "post", "--config", str(config))
        self.process = subprocess.Popen(
            command,
            cwd=config.parent,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self) -> tuple[int, str, str]:
        """
        Wait for its end: exit code, what it logged, and what it said on standard error.
        """
        try:
            logged, said = self.process.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()
            raise
        return self.process.returncode, logged, said


class StartTests(SynchronousTestCase):
    """
    Tests of a node that cannot run as it is configured.
    """

    def setUp(self) -> None:
        self.scratch = scratch(self)
        self.organisation = Organisation(self.scratch)
        self.listener = socket.socket()
        self.addCleanup(self.listener.close)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(1)
        home = self.organisation.certify_node("alice")
        listen = f"127.0.0.1:{self.listener.getsockname()[1]}"
        self.organisation.init_node(home, "--listen", listen)
        self.organisation.add_user(home, "alice", "secret")

    def copy(self, name: str) -> Path:
        """
        Another directory of the same node.
        """
        return Path(shutil.copytree(self.scratch / "alice", self.scratch / name))

    def test_refused(self) -> None:
        """
        A setting, key, directory or port that cannot be used is one line on standard error, and the exit code for it.
        """
        other = Organisation(self.scratch / "other")
        port = self.listener.getsockname()[1]
        served = f'links.listen = "127.0.0.1:0"\nauthority.listen = "127.0.0.1:{port}"\nauthority.directory = '
        homes = {
            name: self.copy(name)
            for name in (
                "toml",
                "setting",
                "secret",
                "key",
                "account",
                "newer",
                "lock",
                "database",
                "mail",
                "door",
                "foreign",
            )
        }
        (homes["toml"] / "node.toml").write_text("[links")
        (homes["setting"] / "node.toml").write_text("links.colour = 1")
        (homes["secret"] / "node.key").chmod(0o644)
        shutil.copy(other.certify_node("eve") / "node.key", homes["key"] / "node.key")
        write_secret(homes["account"] / "accounts" / "alice@example.org" / "account", b"nonsense")
        (homes["newer"] / "version").write_text("POST node 3\n")
        held = lock(homes["lock"] / "lock")
        self.addCleanup(os.close, held)
        # Its port is free, so that it gets as far as that.
        (homes["database"] / "node.toml").write_text('links.listen = "127.0.0.1:0"')
        # Found before twistd goes into the background, where its words would reach nobody.
        taken = socket.create_server(("127.0.0.1", 0))
        self.addCleanup(taken.close)
        port = taken.getsockname()[1]
        (homes["mail"] / "node.toml").write_text(
            f'links.listen = "127.0.0.1:0"\nmail.imap = "127.0.0.1:{port}"\nmail.submission = ""\n'
            'mail.submissions = ""\nmail.imaps = ""\n'
        )
        (homes["database"] / "blocks.sqlite").write_bytes(b"nonsense" * 1000)
        (homes["door"] / "node.toml").write_text(f'{served}"{self.organisation.authority}"')
        (homes["foreign"] / "node.toml").write_text(f'{served}"{other.authority}"')
        expected = {
            "door": "authority.listen: cannot listen on",
            "foreign": "is not the authority of this node",
            "toml": "is not TOML",
            "setting": "links.colour: is no setting",
            "secret": "chmod 600",
            "key": "is not for the key of this node",
            "account": "is damaged",
            "newer": "says version 3; this is post",
            "lock": "is in use by another process",
            "mail": "mail.imap: cannot listen on",
            "database": "cannot be used as a database",
            "alice": "Address already in use",
        }
        running = {name: Twistd(self.scratch / name / "node.toml") for name in expected}
        for name, node in running.items():
            code, logged, said = node.end()
            self.assertEqual((78, 1), (code, len(said.splitlines())), f"{name}: {said}")
            self.assertTrue(said.startswith("post: "), said)
            self.assertIn(expected[name], said)
            self.assertNotIn("Traceback", logged)


class PluginTests(SynchronousTestCase):
    """
    Tests of how twistd comes to know of us.
    """

    def test_help(self) -> None:
        """
        C{twistd --help} lists it, wherever that is called.
        """
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        shown = subprocess.run(
            (*TWISTD, "--help"), cwd="/", env=environment, capture_output=True, text=True, check=True
        )
        self.assertRegex(shown.stdout, r"(?m)^ +post +A node of POST")

    def test_wheel(self) -> None:
        """
        What pip builds has the plugin, without making Twisted's namespace ours.
        """
        source, target = scratch(self) / "source", scratch(self)
        source.mkdir()
        for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE"):
            shutil.copy(ROOT / name, source)
        for name in ("post", "twisted"):
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__", "dropin.cache"))
        # It fetches the setuptools that pyproject.toml asks for, as the first install did, or has it in its cache.
        pip = (sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps")
        subprocess.run((*pip, "--wheel-dir", target, source), check=True, capture_output=True)
        (wheel,) = target.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            names = archive.namelist()
        self.assertIn("twisted/plugins/post_plugin.py", names)
        self.assertIn("post/tap.py", names)
        self.assertFalse(
            [name for name in names if name.endswith("plugins/__init__.py") or name == "twisted/__init__.py"]
        )
        self.assertFalse([name for name in names if name.startswith("tests")])
