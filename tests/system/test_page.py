"""
The page in a real browser, of a ring of real processes.

Where C{POST_SCREENSHOTS} names a directory, pictures of it are put there.
"""

from __future__ import annotations

import os
import urllib.request
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.cli.commands import post
from tests.system.browser import ELSEWHERE, NARROW, WIDE, Browser
from tests.system.rings import SECRETS, Ring, mail

PICTURES = os.environ.get("POST_SCREENSHOTS")


def colors(browser: Browser) -> tuple[str, str]:
    """
    Of paper and ink.
    """
    found: list[str] = browser.driver.execute_script(
        "const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]"
    )
    return found[0], found[1]


class PageTests(SynchronousTestCase):
    """
    Tests of the page.
    """

    def shoot(self, browser: Browser, name: str) -> None:
        """
        Look at the page as people do: in light and dark, wide and narrow; nothing is wider than the window.
        """
        seen = set()
        for scheme in ("light", "dark"):
            for width in (WIDE, NARROW):
                self.assertLessEqual(browser.dress(scheme, width), width, name)
                if PICTURES:
                    browser.photograph(Path(PICTURES) / f"{name}-{scheme}-{width}.png")
            seen.add(colors(browser))
        self.assertEqual(2, len(seen))
        browser.dress("light", WIDE)

    def test_story(self) -> None:
        """
        Nobody gets in without the password, nor under another name; who gets in sees that the node is connected, how
        safe the mail is, where a message stands that waits and then arrives, and, when computers are switched off, that
        it is less safe and what to do; all of that without loading the page again.
        """
        with Ring() as ring, Browser() as browser:
            web = ring.home_of("alice")["web"]
            browser.go(f"http://{web}/")
            self.assertNotIn("node1", browser.text())
            self.shoot(browser, "login")
            browser.log_in("alice", "wrong")
            browser.wait("a no", lambda: "Name or password is wrong." in browser.text())
            self.assertNotIn("node1", browser.text())
            # The browser complains of the 403 itself.
            self.assertEqual(1, len(browser.troubles()))

            browser.go(f"http://{ELSEWHERE}:{web.rpartition(':')[2]}/")
            self.assertEqual(
                "This page answers to names that are set only: localhost, and names in [web].", browser.text().strip()
            )
            browser.troubles()

            browser.go(f"http://{web}/")
            browser.log_in("alice", SECRETS["alice"])
            browser.wait("the page", lambda: browser.find("#state") == ["Connected · 5 nodes"])
            browser.wait("how safe it is", lambda: browser.find("[data-verdict=good]"))
            self.assertIn("Any two computers could vanish now", browser.find(".verdict")[0])
            self.assertEqual(5, len(browser.find("svg.ring .node.here")))
            self.assertIn("All is well.", browser.find("#warnings")[0])

            ring.stop_node("node2")
            ring.send("alice", "bob", mail("on its way"))
            waiting = "#sent [data-stage=waiting]"
            browser.wait("the message that waits", lambda: browser.find(waiting))
            self.assertIn("bob@example.org", browser.find(waiting)[0])
            self.assertIn("on its way", browser.find("#sent")[0])
            browser.wait("that bob is away", lambda: browser.find("svg.ring .node.away"))
            self.shoot(browser, "waiting")
            ring.start_node("node2")
            arrived = "#sent [data-stage=delivered]"
            browser.wait("that it has arrived", lambda: any("bob@" in each for each in browser.find(arrived)))
            self.assertEqual([], browser.find(waiting))
            self.shoot(browser, "well")

            for name in ("node3", "node4", "node5"):
                ring.stop_node(name)
            browser.wait("a warning", lambda: browser.find("[data-alert=cannot-accept]"))
            browser.wait("that copies are missing", lambda: browser.find("[data-alert=short]"))
            self.assertIn("Switch on more", browser.find("[data-alert=cannot-accept] .cure")[0])
            self.assertEqual([], browser.find("[data-verdict=good]"))
            self.shoot(browser, "few")
            found = post("status", "--config", ring.home("node1"))
            self.assertEqual(1, found.exit_code)
            self.assertIn("ALARM: Mail cannot be accepted now", found.output)

            browser.driver.find_element("css selector", ".bar-top button").click()
            browser.wait("the form", lambda: browser.find("#login"))
            # Of the other name the browser may complain late: it asks for a picture too.
            self.assertEqual([], [each for each in browser.troubles() if ELSEWHERE not in each])

    def test_without_scripts(self) -> None:
        """
        In a browser that runs no scripts one logs in and out, reads everything, opens what is folded, and the page
        loads itself anew.
        """
        with Ring(4) as ring, Browser(scripts=False) as browser:
            ring.send("alice", "bob", mail("plain and simple"))
            browser.go("data:text/html,<p id=p>no</p><script>document.getElementById('p').textContent = 'yes'</script>")
            self.assertEqual("no", browser.text().strip(), "scripts are not run")
            browser.go(f"http://{ring.home_of('alice')['web']}/")
            browser.log_in("alice", "wrong")
            browser.wait("a no", lambda: "Name or password is wrong." in browser.text())
            browser.log_in("alice", SECRETS["alice"])
            browser.wait("the page", lambda: browser.find("#state") == ["Connected · 4 nodes"])
            # Nobody loads it anew but the page itself.
            browser.wait("how safe it is", lambda: browser.find("[data-verdict=good]"))
            browser.wait("the subject", lambda: "plain and simple" in browser.find("#sent")[0])
            text = browser.text()
            for words in ("Any two computers could vanish", "All is well.", "Certificates", "loads itself anew every"):
                self.assertIn(words, text)
            browser.driver.find_element("css selector", "#ring-nodes summary").click()
            self.assertIn("in the ring", browser.driver.find_element("css selector", "#ring-nodes").text)
            self.shoot(browser, "plain")
            browser.driver.find_element("css selector", ".bar-top button").click()
            browser.wait("the form", lambda: browser.find("#login"))
            self.assertEqual([], [each for each in browser.troubles() if "403" not in each])

    def test_terminal(self) -> None:
        """
        In a terminal and for Prometheus it is said as well: that all is well, where the page is, and what a healthy
        node's doctor finds.
        """
        with Ring(4) as ring:
            home = ring.home("node1")
            said = post("status", "--config", home)
            self.assertEqual(0, said.exit_code, said.output)
            self.assertIn(f"more: http://{ring.node('node1')['web']}/", said.output)
            found = post("doctor", "--config", home)
            self.assertEqual(0, found.exit_code, found.output)
            self.assertIn("the node is in a ring of 4", found.output)
            with urllib.request.urlopen(f"http://{ring.node('node1')['web']}/metrics", timeout=30) as answer:
                self.assertIn("post_links 3.0", answer.read().decode())
