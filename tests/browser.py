"""A real browser in tests: the machine's Chromium, without a window, and what it did."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, Request, expect, sync_playwright

PATIENCE_MS = 60_000  # a loaded machine takes its time
expect.set_options(timeout=PATIENCE_MS)

PROGRAMS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
OPTIONS = [
    "--no-sandbox",  # continuous integration often runs as root; only our own page is opened
    "--use-fake-device-for-media-stream",  # a microphone that beeps
    "--use-fake-ui-for-media-stream",
]
# Runs in every page before its own scripts, outside of its policy.
WATCH = """
window.violations = [];
addEventListener("securitypolicyviolation", (event) =>
  window.violations.push(`${event.violatedDirective}: ${event.blockedURI}`));
"""


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start the browser; without one the tests are skipped, or fail where `CI` is set."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        message = f"none of {', '.join(PROGRAMS)} is installed"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=OPTIONS)
        yield browser
        browser.close()


@dataclass
class Visit:
    """A page that is open, and what was noticed meanwhile."""

    page: Page
    errors: list[str] = field(default_factory=list)
    """Uncaught exceptions, and what the browser itself complains of in the console."""
    requests: list[Request] = field(default_factory=list)

    @property
    def origins(self) -> set[str]:
        """Whom the page has asked for anything; `data:` and `blob:` ask nobody."""
        urls = (urlsplit(request.url) for request in self.requests)
        return {f"{url.scheme}://{url.netloc}" for url in urls if url.scheme.startswith("http")}

    @property
    def violations(self) -> list[str]:
        """What the page's security policy has stopped."""
        found = self.page.evaluate("window.violations")
        assert isinstance(found, list)
        return found


@contextmanager
def visit(
    browser: Browser, url: str, *, width: int = 1280, height: int = 860, dark: bool = False
) -> Iterator[Visit]:
    """Open a page as somebody does who was never there before."""
    context = browser.new_context(
        viewport={"width": width, "height": height},
        color_scheme="dark" if dark else "light",
    )
    page = context.new_page()
    page.set_default_timeout(PATIENCE_MS)
    page.add_init_script(WATCH)
    seen = Visit(page)
    page.on("pageerror", lambda error: seen.errors.append(str(error)))
    page.on("console", lambda said: seen.errors.append(said.text) if said.type == "error" else None)
    page.on("request", lambda request: seen.requests.append(request))
    page.goto(url)
    yield seen
    context.close()
