"""Take pictures of the HTML page and of the terminal: ``python tests/builders/screenshots.py REPORT.json FOLDER``.

Needs the extra ``test``, Chromium and its driver.
"""

from __future__ import annotations

import base64
import io
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from browser import chromium, look_like
from rich.console import Console

from scanner.report.html import html_bytes
from scanner.report.read import read_report
from scanner.report.terminal import summary

LOOKS = {"desktop": 1280, "phone": 390}


def main(source: Path, folder: Path) -> None:
    """Write the pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    report, _ = read_report(source)
    page = folder / "report.html"
    page.write_bytes(html_bytes(report))
    console = Console(record=True, width=80, file=io.StringIO(), force_terminal=True)
    console.print(summary(report))
    terminal = folder / "terminal.svg"
    terminal.write_text(console.export_svg(title="modelscan scan inputs/"))
    with chromium() as driver:
        for name, width in LOOKS.items():
            for dark in (False, True):
                look_like(driver, width=width, dark=dark)
                driver.get(page.resolve().as_uri())
                shot(driver, width, folder / f"{name}-{'dark' if dark else 'light'}.png")
        look_like(driver, width=794, media="print")
        driver.get(page.resolve().as_uri())
        shot(driver, 794, folder / "print.png")
        look_like(driver, width=1000)
        driver.get(terminal.resolve().as_uri())
        shot(driver, 1000, folder / "terminal.png")


def shot(driver, width, path):
    """A picture of the whole page."""
    height = driver.execute_script("return Math.ceil(document.documentElement.getBoundingClientRect().height)")
    clip = {"x": 0, "y": 0, "width": width, "height": min(height, 6000), "scale": 1}
    taken = driver.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    path.write_bytes(base64.b64decode(taken["data"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
