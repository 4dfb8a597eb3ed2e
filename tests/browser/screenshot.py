"""Pictures of the real page: `python -m tests.browser.screenshot readme docs/page.png` or `… all build/screenshots`.

readme: docs/page.png, a desktop window, and docs/page-phone.png, a phone's, both with two picture pixels a CSS pixel.
all: each state in each size by day and by night, in one size with forced colours and as printed, FOLDER/STATE/SIZE-LOOK.png, and for each
state a sheet of them, FOLDER/STATE.png.
"""

import argparse
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Browser, expect

from tests.browser.pen import SEVEN, draw, open_page
from tests.browser.site import best_store, chromium, served_page
from tests.browser.states import SETTLED, STATES

WINDOWS = {"": (1200, 760), "-phone": (390, 844)}  # suffix of the file's name → width and height, CSS px
SIZES = [(320, 568), (390, 844), (844, 390), (740, 320), (768, 1024), (1280, 800), (1920, 1080), (3840, 2160)]
LOOKS: dict[str, dict[str, Any]] = {  # how `emulate_media` asks for them
    "light": {"color_scheme": "light"},
    "dark": {"color_scheme": "dark"},
    "forced": {"color_scheme": "light", "forced_colors": "active"},
    "print": {"color_scheme": "dark", "media": "print"},
}
ONE_SIZE = (1280, 800)  # of the last two
ROW_PX, GAP_PX = 640, 12  # of a sheet


def take_readme(browser: Browser, url: str, out: Path) -> None:
    """A drawn seven and the model's own answer."""
    out.parent.mkdir(parents=True, exist_ok=True)
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


def take_state(browser: Browser, url: str, name: str, folder: Path) -> None:
    """One state in all sizes and looks, from top to end of the page, and a sheet of them."""
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    STATES[name](page, url)
    is_dialog_open = page.locator("dialog[open]").count() > 0  # which belongs to the window, not to the page
    pictures: dict[str, list[Path]] = {}
    for look, media in LOOKS.items():
        page.emulate_media(**{"media": "screen", "forced_colors": "none", **media})
        for width, height in SIZES if look in ("light", "dark") else [ONE_SIZE]:
            page.set_viewport_size({"width": width, "height": height})
            page.evaluate(SETTLED)
            path = folder / name / f"{width}x{height}-{look}.png"
            page.screenshot(path=path, full_page=not is_dialog_open)
            pictures.setdefault(look, []).append(path)
    page.unroute_all(behavior="ignoreErrors")  # some states hold a request
    page.close()
    rows = [row for look in ("light", "dark") for row in (pictures[look][:4], pictures[look][4:])]
    save_sheet([*rows, [*pictures["forced"], *pictures["print"]]], folder / f"{name}.png")
    print(folder / f"{name}.png", flush=True)


def save_sheet(rows: list[list[Path]], path: Path) -> None:
    """One picture of many, all of a row as high as each other."""
    opened = [[Image.open(picture) for picture in row] for row in rows]
    small = [[picture.resize((round(picture.width * ROW_PX / picture.height), ROW_PX)) for picture in row] for row in opened]
    sheet = Image.new("RGB", (max(sum(picture.width + GAP_PX for picture in row) for row in small), len(rows) * (ROW_PX + GAP_PX)), "#888")
    for k, row in enumerate(small):
        left = 0
        for picture in row:
            sheet.paste(picture, (left, k * (ROW_PX + GAP_PX)))
            left += picture.width + GAP_PX
    sheet.save(path)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.browser.screenshot", description="Make pictures of the page.")
    parser.add_argument("what", choices=["readme", "all"], help="readme: a drawn seven and its answer; all: every state in every size")
    parser.add_argument(
        "out", type=Path, help="readme: the desktop picture, such as docs/page.png, the phone's goes beside it; all: a folder"
    )
    parser.add_argument("--only", nargs="*", default=list(STATES), choices=list(STATES), metavar="STATE", help="with all: these states")
    args = parser.parse_args()
    with served_page(best_store) as url, chromium() as browser:
        if args.what == "readme":
            take_readme(browser, url, args.out)
        else:
            for name in args.only:
                take_state(browser, url, name, args.out)


if __name__ == "__main__":
    main()
