"""
Finding the ring by DNS, as real processes.
"""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from tests.gateway.names import NameServer
from tests.scratch import scratch
from tests.system.machines import Machine
from tests.system.ports import free_ports
from tests.system.rings import wait_for


class FindingTests(SynchronousTestCase):
    """
    Bob's machine comes back when everything that it knew has moved.
    """

    def test_moved(self) -> None:
        """
        Neither the authority nor any node answers where it was; the SRV record leads to one, and mail flows.
        """
        directory = scratch(self)
        alice, bob = (Machine(self, directory, name) for name in ("alice", "bob"))
        alice.init(2)
        alice.start()
        alice.wait("active")
        code, said = bob.join(alice.token("bob"))
        self.assertEqual(0, code, said)
        gone, resolver = free_ports(2)
        text = bob.config.read_text()
        for port in (alice.link, alice.door):
            text = text.replace(f"127.0.0.1:{port}", f"127.0.0.1:{gone}")
        bob.config.write_text(text.replace("[links]\n", f'[links]\ndns = "127.0.0.1:{resolver}"\n'))
        (bob.home / "seeds").write_text(f"127.0.0.1:{gone}\n")
        zone = {"_post._tcp.example.org": {"SRV": [[10, 0, alice.link, "localhost"]]}}
        with NameServer(directory, resolver, zone):
            bob.start()
            bob.wait("serving")
            wait_for("alice can be found", lambda: alice.published)
            bob.send("alice", "found")
            alice.wait_for_mail("found")
        self.assertIn("DNS names 1 nodes", bob.log)
