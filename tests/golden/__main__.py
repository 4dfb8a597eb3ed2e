"""The golden frames: the rasteriser's frame of each drawing in `drawings/`, as text that a reviewer can read.

`python -m tests.golden` (`make golden`) rewrites them; then read the diff. A case is a file, `<case>.json`: a canvas JSON with the expected
answer, {"digit": 7} or {"reason": "not_a_digit" | "blank" | "faint"}. Adding one needs no code.

`hand-made.jsonl` has one drawing a line, without golden frames: signs, ticks, arrows, smileys, hearts, bare lines and digits of few points,
to score a model with (`python -m trainer evaluate --drawings`). Their shapes were made for this, apart from what `trainer` draws.
"""

import json
from pathlib import Path

import numpy as np

from pynumdraw.ink import clip_strokes, rasterise

DRAWINGS = Path(__file__).parent / "drawings"
HAND_MADE = Path(__file__).parent / "hand-made.jsonl"
_GREYS = ".:+#@"  # paper to ink, the five nearest 0, 64, 128, 191 and 255


def as_text(frame: np.ndarray) -> str:
    """uint8[28, 28] as 28 lines of 28 characters."""
    nearest = (frame.astype(np.int64) * (len(_GREYS) - 1) + 127) // 255
    return "".join("".join(_GREYS[grey] for grey in row) + "\n" for row in nearest)


def text_of(case: Path) -> str:
    """The frame of the drawing in that file, as text."""
    drawing = json.loads(case.read_text())
    return as_text(rasterise(clip_strokes(drawing["strokes"], drawing["width"], drawing["height"])))


def main() -> None:
    """Rewrite every frame and say which changed."""
    cases = sorted(DRAWINGS.glob("*.json"))
    changed = 0
    for case in cases:
        golden, text = case.with_suffix(".txt"), text_of(case)
        if not golden.exists() or golden.read_text() != text:
            golden.write_text(text)
            changed += 1
            print(f"wrote {golden.relative_to(Path.cwd()) if golden.is_relative_to(Path.cwd()) else golden}")
    for stale in {golden.stem for golden in DRAWINGS.glob("*.txt")} - {case.stem for case in cases}:
        (DRAWINGS / f"{stale}.txt").unlink()
        changed += 1
        print(f"removed {stale}.txt, which has no drawing")
    print(f"{len(cases)} frames, {changed} changed")


if __name__ == "__main__":
    main()
