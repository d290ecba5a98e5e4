"""A driven Chromium, and the viewer served to it.

`MMPR_SCREENSHOTS=FOLDER` keeps pictures to look at.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mmpr_pipeline.report.viewer.browse import Library
from mmpr_pipeline.report.viewer.live import Run, is_run
from mmpr_pipeline.report.viewer.server import listen, make_app

CHROMIUM = shutil.which("chromium") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
FLAGS = (
    "headless=new", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-background-networking",
    "disable-component-update", "disable-sync", "hide-scrollbars",
)  # fmt: skip
PHONE = (390, 844)
VIEWS = [
    ((1280, 860), False),
    pytest.param((1280, 860), True, marks=pytest.mark.campaign),
    pytest.param(PHONE, False, marks=pytest.mark.campaign),
]
"""Sizes, and whether the page is dark: `size, dark`."""
SETTLED = """
const [selector, number, done] = arguments;
const box = () => document.querySelectorAll(selector)[number]?.getBoundingClientRect();
const images = () => [...document.images].every((image) => image.complete || image.loading === "lazy");
const before = box();
requestAnimationFrame(() => requestAnimationFrame(() => {
  const now = box();
  done(Boolean(before && now && images() && ["x", "y", "width", "height"].every((side) => before[side] === now[side])));
}));
"""  # whether an element is there, and stays where it is


class Browser:
    """A driven Chromium; every look at the page waits until what is looked for is there."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(
        self, address: str, size: tuple[int, int] = (1280, 860), *, dark: bool = False, still: bool = False
    ) -> None:
        wishes = [
            {"name": "prefers-color-scheme", "value": "dark" if dark else "light"},
            {"name": "prefers-reduced-motion", "value": "reduce" if still else ""},
        ]
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": wishes})
        metrics = {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.get("about:blank")  # else a new hash alone would not load the page anew
        self.driver.get(address)

    def until(self, condition: Callable[[], Any]) -> Any:
        from selenium.webdriver.support.ui import WebDriverWait

        return WebDriverWait(self.driver, 60).until(lambda _: condition())

    def js(self, script: str, *values: Any) -> Any:
        return self.driver.execute_script(script, *values)

    def all(self, selector: str) -> list[Any]:
        from selenium.webdriver.common.by import By

        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def click(self, selector: str, number: int = 0) -> None:
        """Click once the element stands still; one that the page has drawn anew meanwhile is looked for again."""
        from selenium.common import exceptions as selenium

        passing = selenium.StaleElementReferenceException, selenium.ElementNotInteractableException

        def clicked() -> bool:
            try:
                self.all(selector)[number].click()
            except (*passing, selenium.ElementClickInterceptedException):
                return False
            return True

        self.until(lambda: self.driver.execute_async_script(SETTLED, selector, number))
        self.until(clicked)

    def text(self, selector: str) -> str:
        return self.js("return document.querySelector(arguments[0])?.innerText ?? ''", selector)

    def keys(self, keys: str) -> None:
        from selenium.webdriver.common.action_chains import ActionChains

        ActionChains(self.driver).send_keys(keys).perform()

    def fits(self) -> bool:
        """Whether nothing sticks out to the side."""
        return self.js("return document.documentElement.scrollWidth <= document.documentElement.clientWidth")

    def errors(self) -> list[str]:
        return [entry["message"] for entry in self.driver.get_log("browser") if entry["level"] == "SEVERE"]

    def keep(self, name: str) -> None:
        if folder := os.environ.get("MMPR_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            self.driver.save_screenshot(str(Path(folder) / f"{name}.png"))


@contextmanager
def serving(out: Path) -> Iterator[str]:
    """The viewer's address while it runs."""
    import uvicorn

    listener = listen("127.0.0.1", 0)
    port = listener.getsockname()[1]
    server = uvicorn.Server(
        uvicorn.Config(make_app(Run(out) if is_run(out) else Library(out)), log_level="warning", lifespan="off")
    )
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join(20)
