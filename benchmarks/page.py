"""
How fast the page is, in Debian's chromium without a window: of a ring of five, logged in, loaded again and again.

    python benchmarks/page.py [--loads N] [--json]

Prints, in milliseconds (medians), when the first byte came and when everything was loaded, by the browser's own
clock; how many kilobytes the page had; and the CPU time that the node took for each load.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent))  # The browser is that of the tests.

from tests.system.browser import Browser
from tests.system.rings import SECRETS, Ring

TIMES = """
const entry = performance.getEntriesByType("navigation")[0];
return [entry.responseStart, entry.loadEventEnd, entry.decodedBodySize];
"""


def cpu_s(pid: int) -> float:
    """
    What a process has used so far.
    """
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(loads: int) -> dict[str, float]:
    """
    All figures.
    """
    taken: list[list[float]] = []
    with Ring() as ring, Browser() as browser:
        node: dict[str, Any] = ring.home_of("alice")
        browser.go(f"http://{node['web']}/")
        browser.log_in("alice", SECRETS["alice"])
        browser.wait("the page", lambda: browser.find("#state"))
        browser.wait("how safe it is", lambda: browser.find("[data-verdict]"))
        before = cpu_s(node["pid"])
        for _ in range(loads):
            browser.driver.refresh()
            browser.wait("its end", lambda: browser.driver.execute_script(TIMES)[1] > 0)
            taken.append(browser.driver.execute_script(TIMES))
        cpu = cpu_s(node["pid"]) - before
    first, loaded, size = (statistics.median(column) for column in zip(*taken, strict=True))
    return {
        "first_byte_ms": first,
        "loaded_ms": loaded,
        "page_kb": size / 1000,
        "cpu_ms_per_load": 1000 * cpu / loads,
    }


def main() -> None:
    """
    Measure and print.
    """
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--loads", type=int, default=50)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = measure(arguments.loads)
    if arguments.json:
        print(json.dumps(results, indent=1))
        return
    for name, value in results.items():
        print(f"{name:<28}{value:>12.1f}")


if __name__ == "__main__":
    main()
