"""Debian's Chromium, headless, driven by Playwright."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from tests.e2e.programs import becomes_true, require

_QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update"),
)
ARTIFACTS = Path(__file__).parents[2] / "artifacts"
PATIENCE_MS = 120_000  # of which a busy machine takes what it needs


@contextmanager
def open_page(width: int = 1100, height: int = 740, touch: bool = False) -> Iterator[Page]:
    """Give a page of a fresh browser, which fails the test for errors that its scripts make."""
    require("chromium")
    errors: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=_QUIET)
        context = browser.new_context(  # in which tests may open further tabs
            viewport={"width": width, "height": height},
            is_mobile=touch,
            has_touch=touch,
            ignore_https_errors=True,  # the tests' certificates are nobody's
        )
        context.set_default_timeout(PATIENCE_MS)
        context.on("weberror", lambda event: errors.append(str(event.error)))
        context.on(
            "console",
            lambda line: errors.append(line.text) if "Content Security" in line.text else None,
        )
        try:
            yield context.new_page()
        finally:
            browser.close()
    assert not errors, errors


def wait_for_state(page: Page, state: str) -> None:
    """Wait until our console page says that it is in this state."""
    page.wait_for_selector(f"html[data-state={state}]")


def wait_until(page: Page, expression: str) -> None:
    """Wait until this JavaScript is true; Playwright's own way needs eval, which pages forbid."""
    assert becomes_true(lambda: bool(page.evaluate(expression))), expression


def canvas_picture(page: Page) -> Image.Image:
    """Return what noVNC's canvas shows, pixel by pixel of the console's screen."""
    script = """() => {
        const canvas = document.querySelector("canvas");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        let text = "";
        for (let at = 0; at < data.length; at += 32768)
            text += String.fromCharCode(...data.subarray(at, at + 32768));
        return [canvas.width, canvas.height, btoa(text)];
    }"""
    width, height, pixels = page.evaluate(script)
    return Image.frombytes("RGBA", (width, height), base64.b64decode(pixels)).convert("RGB")


def save_screenshot(page: Page, name: str) -> None:
    """Keep a picture of the page among the artefacts of the tests."""
    ARTIFACTS.mkdir(exist_ok=True)
    page.screenshot(path=ARTIFACTS / name)
