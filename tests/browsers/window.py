"""A headless Chromium, what it shows as an array, and what is missing where it is."""

from __future__ import annotations

import io
import shutil
import time
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING, Self

import numpy as np
from PIL import Image

if TYPE_CHECKING:
    from collections.abc import Callable

    from playwright.sync_api import Page

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
SIZE = {"width": 900, "height": 700}
PATIENCE = 60.0
"""Seconds after which what was not drawn will not be; there is no GPU that draws."""

_FLAGS = (
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1",
)


def missing() -> str:
    """Say what Chromium needs and has not; nothing if it can be started."""
    if find_spec("playwright") is None:
        return "playwright is not installed: make test-browsers"
    if _program() is None:
        return "Chromium is not on the PATH: make test-browsers"
    return ""


def _program() -> str | None:
    return next(filter(None, map(shutil.which, NAMES)), None)


@dataclass(frozen=True, slots=True)
class Shot:
    """What an element of a page shows.

    Attributes
    ----------
    pixels : numpy.ndarray
        Rows, columns, red-green-blue; uint8.
    """

    pixels: np.ndarray

    @property
    def middle(self) -> tuple[float, float]:
        """The row and the column of the middle, in pixels from the corner."""
        return self.pixels.shape[0] / 2, self.pixels.shape[1] / 2


class Chromium:
    """A browser without a window; starts on entering, ends on leaving."""

    def __enter__(self) -> Self:
        from playwright.sync_api import sync_playwright

        self._playwright = sync_playwright().start()
        self._browser = self._playwright.chromium.launch(
            executable_path=_program(), args=_FLAGS
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._browser.close()
        self._playwright.stop()

    @property
    def version(self) -> str:
        """Of the browser."""
        return self._browser.version

    def page(self) -> Page:
        """Open a tab that shares nothing with others; close its context after."""
        context = self._browser.new_context(viewport=SIZE)
        context.set_default_timeout(1000 * PATIENCE)
        return context.new_page()


def shot(page: Page, element: str = "") -> Shot:
    """Look at the first element that a CSS selector finds, or at all of the page."""
    place = page.locator(element).first.bounding_box() if element else None
    data = page.screenshot(clip=place)
    return Shot(np.asarray(Image.open(io.BytesIO(data)).convert("RGB")))


def until_it_shows(
    page: Page, element: str, judge: Callable[[Shot], None], patience: float = PATIENCE
) -> Shot:
    """Look again until a judge is content; else raise the last complaint."""
    deadline = time.monotonic() + patience
    while True:
        page.wait_for_selector(element)
        found = shot(page, element)
        try:
            judge(found)
        except AssertionError:
            if time.monotonic() > deadline:
                raise
            page.wait_for_load_state("networkidle")
        else:
            return found
