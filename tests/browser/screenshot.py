"""The README's pictures, from the real page and the real model: `python -m tests.browser.screenshot docs/page.png`.

Writes docs/page.png, a desktop window, and docs/page-phone.png, a phone's; both with two picture pixels a CSS pixel.
"""

import argparse
from pathlib import Path

from PIL import Image
from playwright.sync_api import expect

from tests.browser.pen import SEVEN, draw, open_page
from tests.browser.site import best_store, chromium, served_page

WINDOWS = {"": (1200, 760), "-phone": (390, 844)}  # suffix of the file's name → width and height, CSS px


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m tests.browser.screenshot", description="Make pictures of a drawn seven and its answer."
    )
    parser.add_argument("out", type=Path, help="the desktop picture, such as docs/page.png; the phone's goes beside it")
    out: Path = parser.parse_args().out
    out.parent.mkdir(parents=True, exist_ok=True)
    with served_page(best_store) as url, chromium() as browser:
        for suffix, (width, height) in WINDOWS.items():
            page = browser.new_page(viewport={"width": width, "height": height}, device_scale_factor=2, reduced_motion="reduce")
            open_page(page, url)
            draw(page, SEVEN)
            page.mouse.move(0, 0)
            expect(page.locator("#big")).to_have_text("7")
            expect(page.locator("#reading")).to_have_attribute("data-kind", "sure")
            path = out.with_stem(out.stem + suffix)
            page.screenshot(path=path)
            Image.open(path).convert("P", palette=Image.Palette.ADAPTIVE).save(path, optimize=True)  # a third of the bytes
            print(path)


if __name__ == "__main__":
    main()
