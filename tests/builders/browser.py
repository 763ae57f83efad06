"""A headless Chromium for tests and screenshots."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
# Where it is promised, as in CI, a missing browser is a failure.
MISSING = (CHROMIUM is None or DRIVER is None) and not os.environ.get("REQUIRE_BROWSER")


def axe_source():
    """The accessibility engine axe-core: the file that AXE_CORE names, or one that npm installed here."""
    for place in (os.environ.get("AXE_CORE"), "node_modules/axe-core/axe.min.js"):
        if place and Path(place).is_file():
            return Path(place).read_text()
    return None


@contextmanager
def chromium():
    """A driver that also logs every request of a page."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    with tempfile.TemporaryDirectory(prefix="chromium-") as folder:
        for argument in (
            "--headless=new",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            f"--user-data-dir={folder}",
        ):
            options.add_argument(argument)
        options.set_capability("goog:loggingPrefs", {"performance": "ALL", "browser": "ALL"})
        driver = webdriver.Chrome(options=options, service=Service(DRIVER))
        try:
            yield driver
        finally:
            driver.quit()


def look_like(driver, *, width, height=900, dark=False, media=""):
    """Set the size of the window, the colour scheme, and 'print' or '' as the medium."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": [scheme]})


def requests(driver):
    """Addresses asked for since the last call, except files, data in the page and the browser's own start page."""
    urls = []
    for entry in driver.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        if message["method"] == "Network.requestWillBeSent":
            urls.append(message["params"]["request"]["url"])
    return [url for url in urls if not url.startswith(("data:", "file:", "blob:", "chrome:"))]
