"""A request's body to a drawing: strokes, a PNG picture, or the original demo's list of greys. All checks of the body are here.

Functions here raise only GatewayError, whatever the bytes are. openapi.json describes the body. Unknown fields are ignored, so that a
newer page works with an older gateway.
"""

import binascii
import codecs
import io
import json
import math
import struct
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, chain, pairwise
from typing import Any, NamedTuple, NoReturn

import numpy as np
from PIL.PngImagePlugin import PngImageFile

from gateway.errors import DrawingTooLarge, InvalidDrawing, UnsupportedContent
from pynumdraw import ink

# The limits are arbitrary: far above what a person draws, low enough to bound the work of one request.
MAX_CANVAS_PX = 10_000
MAX_STROKES = 1_000
MAX_POINTS = 20_000
MAX_PICTURE_SIDE_PX = 4_096
MAX_PICTURE_PX = 4_194_304  # 2048x2048, 17 MB once decoded
MAX_GREYS = 1_048_576  # of new_data, 1024x1024: each number becomes an object of 32 bytes
SLOW_LINE_PX = 3_000.0  # length in the frame of what takes more than a few milliseconds to draw; a person's scribble has a few hundred
SMALL_BODY_BYTES = 16 * 1024  # a larger one takes more than a millisecond to read

_PNG_URL = "data:image/png;base64,"
_NO_LINE_BREAKS = {ord("\r"): None, ord("\n"): None}  # MIME has them after 76 characters
_PNG_MAGIC = b"\x89PNG\r\n\x1a\n"
_MIN_INK_GREY = 32  # of 255, anything lighter is paper; arbitrary, a line that people call grey has 60 or more
_BAND_ROWS = 128  # rows converted at a time; arbitrary, keeps the memory for a conversion small


@dataclass(frozen=True)
class Strokes:
    """Strokes on a canvas. strokes: clipped to the canvas, each float64[n, 2] in canvas px. pen: width of the line, px, or None."""

    width: float
    height: float
    strokes: list[np.ndarray]
    pen: float | None = None

    @property
    def is_slow(self) -> bool:
        """Whether drawing it takes more than a few milliseconds."""
        return sum(map(len, self.strokes)) > 100 and ink.line_px(self.strokes) > SLOW_LINE_PX

    def ink_problem(self) -> str | None:
        """ "blank" or "faint" where the drawing has too little ink to be read, else None."""
        return ink.ink_problem(self.strokes, self.width, self.height, self.pen)

    def frame(self) -> np.ndarray:
        """The frame for the model: uint8[28, 28], 0 paper, 255 ink."""
        return ink.rasterise(self.strokes)


@dataclass(frozen=True)
class Picture:
    """A picture. ink: uint8[height, width], 0 paper, 255 ink."""

    ink: np.ndarray
    is_slow = True

    def ink_problem(self) -> str | None:
        """ "blank" or "faint" where the drawing has too little ink to be read, else None."""
        box = ink.ink_box(self.ink)
        if box is None:
            return "faint" if self.ink.any() else "blank"
        top, bottom, left, right = box
        min_extent = (ink.FAINT_EXTENT + ink.DEFAULT_PEN) * min(self.ink.shape)  # unlike strokes, a box of ink includes the line's width
        return "faint" if max(bottom - top, right - left) < min_extent else None

    def frame(self) -> np.ndarray:
        """The frame for the model: uint8[28, 28], 0 paper, 255 ink."""
        return ink.frame_from_picture(self.ink)


Drawing = Strokes | Picture


class DrawingRequest(NamedTuple):
    """A drawing, and whether its answer is to show the frame."""

    drawing: Drawing
    wants_frame: bool


def parse_request(body: bytes, content_type: str | None) -> DrawingRequest:
    """The drawing and the options in a canvas JSON. Raises InvalidDrawing, DrawingTooLarge, UnsupportedContent."""
    media_type = (content_type or "").partition(";")[0].strip().lower()
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedContent(f"Content-Type: found {_shorten(content_type)}, wanted application/json")
    _bound(body, lists=2 * (MAX_POINTS + MAX_STROKES), values=8 * MAX_POINTS)  # twice what a drawing may have, for fields yet unknown
    fields = _json_object(body)
    wants_frame = fields.get("frame", False)
    if not isinstance(wants_frame, bool):
        _refuse("frame", wants_frame, "true or false")
    return DrawingRequest(_drawing(fields), wants_frame)


def _drawing(fields: dict[str, Any]) -> Drawing:
    if ("strokes" in fields) == ("image" in fields):
        raise InvalidDrawing(f"body: found {'both' if 'image' in fields else 'neither'} of strokes and image, wanted one of them")
    if "image" in fields:
        return Picture(_picture(fields["image"]))
    width, height = (_number(fields, name, 1, MAX_CANVAS_PX) for name in ("width", "height"))
    pen = _number(fields, "pen", 0, max(width, height)) if "pen" in fields else None
    if pen == 0:
        _refuse("pen", pen, "more than 0")
    return Strokes(width, height, _clipped_strokes(fields["strokes"], width, height), pen)


def parse_new_data(body: bytes) -> Picture:
    """The picture in the original demo's body, `{"new_data": [greys 0..1, row by row, white on black]}` of a square canvas.

    Raises InvalidDrawing, DrawingTooLarge.
    """
    _bound(body, lists=1000, values=MAX_GREYS + 1000)
    greys = _json_object(body).get("new_data")
    if type(greys) is not list:
        _refuse("new_data", greys, "an array of numbers from 0 to 1")
    if len(greys) > MAX_GREYS:
        raise DrawingTooLarge(f"new_data: found {len(greys)} numbers, wanted at most {MAX_GREYS}")
    side = math.isqrt(len(greys))
    if side == 0 or side * side != len(greys):
        raise InvalidDrawing(f"new_data: found {len(greys)} numbers, wanted those of a square canvas (such as 250000)")
    values = _float_array(greys)
    if values is None or not ((values >= 0) & (values <= 1)).all():
        index = next(k for k, value in enumerate(greys) if not _is_number(value, 0, 1))
        _refuse(f"new_data[{index}]", greys[index], "a number from 0 to 1")
    return Picture(np.rint(values * 255).astype(np.uint8).reshape(side, side))


def is_slow_to_read(body: bytes) -> bool:
    """Whether reading a body takes more than a few milliseconds: a large one, or one with a picture."""
    return len(body) > SMALL_BODY_BYTES or b'"image"' in body


def _bound(body: bytes, lists: int, values: int) -> None:
    """Refuse a body that would become more objects than any drawing needs, before they are made. Raises DrawingTooLarge."""
    found_lists, found_values = body.count(b"[") + body.count(b"{"), body.count(b",")
    if found_lists > lists:
        raise DrawingTooLarge(f"body: found {found_lists} arrays and objects, wanted at most {lists}")
    if found_values > values:
        raise DrawingTooLarge(f"body: found {found_values} values, wanted at most {values}")


def _json_object(body: bytes) -> dict[str, Any]:
    """The JSON object in a body."""
    try:
        value = _decoder.decode(body.removeprefix(codecs.BOM_UTF8).decode())
    except UnicodeDecodeError as exc:
        raise InvalidDrawing(f"body: found a byte that is not UTF-8 at offset {exc.start}, wanted JSON in UTF-8") from exc
    except json.JSONDecodeError as exc:
        raise InvalidDrawing(f"body: wanted JSON, found at line {exc.lineno}, column {exc.colno}: {exc.msg}") from exc
    except RecursionError as exc:
        raise InvalidDrawing("body: found arrays or objects nested too deeply, wanted three levels of strokes") from exc
    except ValueError as exc:  # an integer of thousands of digits
        raise InvalidDrawing("body: found a number with too many digits, wanted JSON numbers") from exc
    if not isinstance(value, dict):
        _refuse("body", value, "a JSON object")
    return value


def _refuse_constant(token: str) -> NoReturn:
    raise InvalidDrawing(f"body: found {token}, wanted JSON, which has finite numbers only")


_decoder = json.JSONDecoder(parse_constant=_refuse_constant)


def _number(fields: dict[str, Any], name: str, low: float, high: float) -> float:
    if name not in fields:
        raise InvalidDrawing(f"{name}: found nothing, wanted a number from {low:g} to {high:g}")
    value = fields[name]
    if not _is_number(value, low, high):
        _refuse(name, value, f"a number from {low:g} to {high:g}")
    return float(value)


def _clipped_strokes(strokes: Any, width: float, height: float) -> list[np.ndarray]:
    """The strokes clipped to the canvas, each float64[n, 2].

    All numbers are checked at once in an array, which is fast; only where that fails are they checked one by one, to name the first.
    """
    if type(strokes) is not list:
        _refuse("strokes", strokes, "an array of strokes")
    if len(strokes) > MAX_STROKES:
        raise DrawingTooLarge(f"strokes: found {len(strokes)} strokes, wanted at most {MAX_STROKES}")
    if not set(map(type, strokes)) <= {list}:
        _refuse_points(strokes, width, height)
    ends = list(accumulate(map(len, strokes), initial=0))
    if ends[-1] > MAX_POINTS:
        raise DrawingTooLarge(f"strokes: found {ends[-1]} points, wanted at most {MAX_POINTS}")
    points = list(chain.from_iterable(strokes))
    if not points:
        return []
    lengths = set(map(len, points)) if set(map(type, points)) == {list} else set()
    if lengths == {2, 3}:
        points, lengths = [(*point, 0)[:3] for point in points], {3}
    table = _float_array(list(chain.from_iterable(points))) if lengths in ({2}, {3}) else None
    if table is None:
        _refuse_points(strokes, width, height)
    table = table.reshape(len(points), -1)  # (point, x y t?)
    xy, (low, high) = table[:, :2], (extreme.reduce(table).tolist() for extreme in (np.minimum, np.maximum))
    is_no_time = len(low) == 3 and not 0 <= low[2] <= high[2] < math.inf
    if is_no_time or any(not -edge <= low[k] <= high[k] <= 2 * edge for k, edge in enumerate((width, height))):
        _refuse_points(strokes, width, height)
    parts = [xy[begin:end] for begin, end in pairwise(ends) if end > begin]
    is_inside = low[0] >= 0 <= low[1] and high[0] <= width and high[1] <= height
    return parts if is_inside else ink.clip_strokes(parts, width, height)


def _refuse_points(strokes: list[Any], width: float, height: float) -> NoReturn:
    """Refuse the strokes, naming the first invalid value."""
    for i, stroke in enumerate(strokes):
        if type(stroke) is not list:
            _refuse(f"strokes[{i}]", stroke, "an array of points")
        for j, point in enumerate(stroke):
            if type(point) is not list or len(point) not in (2, 3):
                _refuse(f"strokes[{i}][{j}]", point, "[x, y] or [x, y, t_ms]")
            for k, (value, edge) in enumerate(zip(point, (width, height), strict=False)):
                if not _is_number(value, -edge, 2 * edge):
                    _refuse(f"strokes[{i}][{j}][{k}]", value, f"a number from {-edge:g} to {2 * edge:g}, one canvas beyond each edge")
            if not _is_number(point[-1], 0, sys.float_info.max) and len(point) == 3:
                _refuse(f"strokes[{i}][{j}][2]", point[2], "a time of 0 ms or more")
    raise InvalidDrawing("strokes: wanted arrays of points")


def _is_number(value: Any, low: float, high: float) -> bool:
    return type(value) in (int, float) and low <= value <= high


def _float_array(values: Sequence[Any]) -> np.ndarray | None:
    """JSON numbers as float64[n]; None where a value is not a number (a bool, a string) or too large for a float."""
    if not set(map(type, values)) <= {int, float}:
        return None
    try:
        return np.array(values, np.float64)
    except OverflowError:
        return None


def _picture(url: Any) -> np.ndarray:
    """The ink of a PNG in a data URL: uint8[height, width], 0 paper, 255 ink; transparency lies over white paper."""
    if type(url) is not str or not url.startswith(_PNG_URL):
        _refuse("image", url, f"a data URL that begins with {_PNG_URL}")
    try:
        data = binascii.a2b_base64(url[len(_PNG_URL) :].translate(_NO_LINE_BREAKS), strict_mode=True)
    except ValueError as exc:
        raise InvalidDrawing(f"image: found text that is not base64 ({exc}), wanted a PNG in base64") from exc
    if len(data) < 33 or data[:8] != _PNG_MAGIC or data[12:16] != b"IHDR":
        raise InvalidDrawing(f"image: found {len(data)} bytes that do not begin as a PNG, wanted a PNG")
    width, height = struct.unpack(">II", data[16:24])
    if not (width and height):
        raise InvalidDrawing(f"image: found a PNG of {width}x{height} px, wanted 1 px or more a side")
    if max(width, height) > MAX_PICTURE_SIDE_PX or width * height > MAX_PICTURE_PX:  # before a byte of it is decoded
        raise DrawingTooLarge(f"image: found {width}x{height} px, wanted at most {MAX_PICTURE_SIDE_PX} a side and {MAX_PICTURE_PX} in all")
    try:
        return _subtract_paper(_inverted_grey(PngImageFile(io.BytesIO(data))))
    except Exception as exc:  # for a damaged PNG Pillow raises OSError, ValueError, SyntaxError, struct.error, zlib.error …
        raise InvalidDrawing("image: found a PNG that cannot be decoded, wanted an undamaged one") from exc


def _inverted_grey(image: PngImageFile) -> np.ndarray:
    """255 minus the grey of a PNG of any mode over white: uint8[height, width]."""
    inverted = np.empty((image.height, image.width), np.uint8)
    for top in range(0, image.height, _BAND_ROWS):
        band = image.crop((0, top, image.width, min(top + _BAND_ROWS, image.height)))
        if band.mode.startswith("I"):  # 16 bit: Pillow's own conversion clips to 255 instead of scaling
            deep = np.asarray(band)
            inverted[top : top + _BAND_ROWS] = np.where(deep == band.info.get("transparency", -1), 0, 255 - (deep >> 8))
        else:
            coloured = band.convert("RGBA") if band.mode == "P" else band  # converting "P" to "LA" directly loses the transparency
            grey, alpha = np.moveaxis(np.asarray(coloured.convert("LA")), 2, 0)
            inverted[top : top + _BAND_ROWS] = (255 - grey.astype(np.uint16)) * alpha // 255
    return inverted


def _subtract_paper(inverted: np.ndarray) -> np.ndarray:
    """The same picture with 0 for paper. The paper's grey is the lightest one, but no darker than the middle grey."""
    paper = min(int(inverted.min()), 127)
    levels = np.maximum(np.arange(256) - paper, 0) * 255 // (255 - paper)
    levels[levels < _MIN_INK_GREY] = 0
    return levels.astype(np.uint8)[inverted]


def _refuse(field: str, found: Any, wanted: str) -> NoReturn:
    raise InvalidDrawing(f"{field}: found {_shorten(found)}, wanted {wanted}")


def _shorten(value: Any) -> str:
    """A value of the body for a message, at most 40 characters."""
    if isinstance(value, list):
        return f"an array of {len(value)}"
    if isinstance(value, dict):
        return f"an object of {len(value)}"
    if value is None:
        return "nothing"
    text = json.dumps(value if not isinstance(value, int) or abs(value) < 1 << 64 else math.inf)
    return text if len(text) <= 40 else f"{text[:36]} …"
