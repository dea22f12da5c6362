"""Draws docs/pages/*.png, the pages of the app in Debian's Chromium, from the states that the tests judge.

    .venv/bin/python tools/screenshots.py

Needs Debian's packages chromium, fonts-inter (in place of the fonts that people have elsewhere) and pngquant.
"""

import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

_PROJECT = Path(__file__).parents[1]
sys.path.insert(0, str(_PROJECT / "tests"))

from support.gallery import serve_gallery  # noqa: E402 - the tests' folder is no package

_PICTURES = _PROJECT / "docs" / "pages"
_WIDE, _NARROW = (1100, 800), (360, 760)

# File, page of the gallery, size, colours.
_SHOTS = (
    ("welcome", "welcome", _WIDE, "light"),
    ("onboard", "onboard", _WIDE, "light"),
    ("onboard-phone", "onboard", _NARROW, "light"),
    ("connect", "connect", _WIDE, "dark"),
    ("granted", "outcome-granted", _WIDE, "dark"),
    ("missing-permission", "outcome-missing-permission", _WIDE, "light"),
    ("overview", "overview-mixed", _WIDE, "light"),
    ("overview-problem", "overview-unknown", _WIDE, "dark"),
    ("overview-phone", "overview-mixed", _NARROW, "dark"),
)


def main() -> int:
    _PICTURES.mkdir(parents=True, exist_ok=True)
    with serve_gallery() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        for file, page_name, (width, height), colours in _SHOTS:
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=colours)
            page.goto(f"{address}/{page_name}")
            page.screenshot(path=_PICTURES / f"{file}.png", full_page=True)
            page.close()
        browser.close()
    # Few colours, and a third of the size: each clone carries every version of every picture.
    pictures = [_PICTURES / f"{file}.png" for file, *_ in _SHOTS]
    return subprocess.run(["pngquant", "--ext", ".png", "--force", "128", *pictures], check=True).returncode  # noqa: S603, S607


if __name__ == "__main__":
    sys.exit(main())
