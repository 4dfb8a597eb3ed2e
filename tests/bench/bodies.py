"""What is sent: the same seven as strokes, as a person draws it, as a picture, and as the original demo's list of greys."""

import base64
import io
import json
from pathlib import Path

from PIL import Image, ImageDraw

from tests.stack import ROOT

SEVEN = [[[60, 60], [120, 58], [180, 60], [240, 60], [210, 110], [180, 160], [150, 210], [130, 260]]]


def write_bodies(folder: Path) -> dict[str, tuple[str, Path]]:
    """Name of the body → (path of the API, file that holds it)."""
    hand = json.loads((ROOT / "tests" / "golden" / "drawings" / "7-plain.json").read_text())
    hand.pop("expect")
    buffer = io.BytesIO()
    _seven(300, 255, 0).save(buffer, "PNG")
    greys = [round(grey / 255, 3) for grey in _seven(500, 0, 255).tobytes()]
    points = sum(map(len, hand["strokes"]))
    bodies = {
        "8 points": ("/api/v1/predict", {"width": 300, "height": 300, "strokes": SEVEN}),
        f"{points} points of a hand": ("/api/v1/predict", hand),
        "PNG of 300x300": ("/api/v1/predict", {"image": "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()}),
        "250,000 greys": ("/predict_number/", {"new_data": greys}),
    }
    written = {}
    for k, (name, (path, body)) in enumerate(bodies.items()):
        file = folder / f"body-{k}.json"
        file.write_text(json.dumps(body))
        written[name] = (path, file)
    return written


def _seven(side: int, paper: int, ink: int) -> Image.Image:
    image = Image.new("L", (side, side), paper)
    ImageDraw.Draw(image).line([(x * side / 300, y * side / 300) for x, y in map(tuple, SEVEN[0])], ink, side // 17, joint="curve")
    return image
