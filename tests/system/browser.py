"""
A real browser for tests of the page: Debian's chromium without a window, driven by Selenium.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from selenium.webdriver import Chrome
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By

from tests.programs import need
from tests.system.rings import wait_for

WIDE, NARROW = 1280, 390
HEIGHT = 900
ELSEWHERE = "elsewhere.example"
"""A name that the browser takes for this machine, as somebody else's DNS could tell it."""


class Browser:
    """
    One window; use it in a C{with} statement.
    """

    def __init__(self, scripts: bool = True) -> None:
        """
        @param scripts: whether pages may run scripts, as people set it in their browser.
        """
        program, driver = need("chromium"), need("chromedriver")
        self._profile = tempfile.mkdtemp(prefix="browser-")
        options = Options()
        options.binary_location = program
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-dev-shm-usage",
            "--hide-scrollbars",
            f"--user-data-dir={self._profile}",
            f"--host-resolver-rules=MAP {ELSEWHERE} 127.0.0.1",
            f"--window-size={WIDE},{HEIGHT}",
        ):
            options.add_argument(argument)
        if not scripts:
            options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
        options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
        try:
            self.driver = Chrome(options=options, service=Service(driver))
        except BaseException:
            shutil.rmtree(self._profile, ignore_errors=True)
            raise

    def __enter__(self) -> Browser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            try:
                print(self.text())
            except Exception as trouble:
                print(f"the page cannot be shown: {trouble}")
        self.driver.quit()
        shutil.rmtree(self._profile, ignore_errors=True)

    def go(self, url: str) -> None:
        """
        Load a page.
        """
        self.driver.get(url)

    def text(self) -> str:
        """
        All that can be read.
        """
        text: str = self.driver.execute_script("return document.body.innerText")
        return text

    def find(self, selector: str) -> list[str]:
        """
        The text of all that a CSS selector finds.
        """
        texts: list[str] = self.driver.execute_script(
            "return [...document.querySelectorAll(arguments[0])].map(each => each.innerText || each.textContent)",
            selector,
        )
        return texts

    def wait(self, what: str, happened: Callable[[], Any]) -> Any:
        """
        Until the page, which keeps itself current, shows something.
        """
        return wait_for(what, happened)

    def log_in(self, name: str, password: str) -> None:
        """
        Fill in the form that is there, and send it.
        """
        for field, value in (("name", name), ("password", password)):
            element = self.driver.find_element(By.NAME, field)
            element.clear()
            element.send_keys(value)
        self.driver.find_element(By.CSS_SELECTOR, "main button").click()

    def dress(self, scheme: str, width: int) -> int:
        """
        Show the page in a light or dark scheme, in a window so wide and as high as the page is; returns how wide the
        page wants to be.
        """
        self.driver.execute_cdp_cmd(
            "Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]}
        )
        height = HEIGHT
        for _ in range(2):
            metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
            self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
            height = self.driver.execute_script("return document.documentElement.scrollHeight")
        wanted: int = self.driver.execute_script("return document.documentElement.scrollWidth")
        return wanted

    def photograph(self, file: Path) -> None:
        """
        Write a PNG.
        """
        self.driver.save_screenshot(str(file))

    def troubles(self) -> list[str]:
        """
        What the browser complained of since it was last asked: errors of scripts, what the page's policy forbade.
        """
        log: list[dict[str, Any]] = self.driver.get_log("browser")
        return [entry["message"] for entry in log if entry["level"] in ("SEVERE", "WARNING")]
