"""gateway.drawing: what is accepted, what is refused with which message, and that only GatewayError is raised."""

import base64
import io
import json
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from gateway import drawing
from gateway.drawing import Drawing, Picture, Strokes, parse_new_data, parse_request
from gateway.errors import DrawingTooLarge, GatewayError, InvalidDrawing, UnsupportedContent
from gateway.routes import OPENAPI
from pynumdraw.ink import clip_strokes, frame_from_picture, rasterise

JSON = "application/json"
SEVEN = [[[60, 60], [120, 58], [180, 60], [240, 60], [210, 110], [180, 160], [150, 210], [130, 260]]]


def body(**fields: Any) -> bytes:
    """A canvas JSON that is good but for the fields given; a field of None is left out."""
    whole = {"width": 300, "height": 300, "strokes": SEVEN} | fields
    return json.dumps({name: value for name, value in whole.items() if value is not None}).encode()


def parse_drawing(sent: bytes, content_type: str | None) -> Drawing:
    return parse_request(sent, content_type).drawing


def png(image: Image.Image, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG", **options)
    return buffer.getvalue()


def url(data: bytes) -> str:
    return "data:image/png;base64," + base64.b64encode(data).decode()


def picture_body(data: bytes) -> bytes:
    return json.dumps({"image": url(data)}).encode()


def drawn_seven(paper: int = 255, pen: int = 0, mode: str = "L", side: int = 300) -> Image.Image:
    image = Image.new("L", (side, side), paper)
    ImageDraw.Draw(image).line([(x * side / 300, y * side / 300) for x, y in map(tuple, SEVEN[0])], pen, side // 15)
    return image.convert(mode, dither=Image.Dither.NONE) if mode != "L" else image


# What is accepted


def test_strokes_are_drawn_as_the_rasteriser_draws_them() -> None:
    read = parse_drawing(body(), JSON)
    assert isinstance(read, Strokes)
    assert read.ink_problem() is None
    assert (read.frame() == rasterise(clip_strokes(SEVEN, 300, 300))).all()


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        pytest.param({"strokes": []}, "blank", id="no strokes"),
        pytest.param({"strokes": [[], []]}, "blank", id="strokes without points"),
        pytest.param({"strokes": [[[-50, -50], [-10, -80]]]}, "blank", id="all outside the canvas"),
        pytest.param({"strokes": [[[150, 150]]]}, "faint", id="a dot"),
        pytest.param({"strokes": [[[150, 150], [153, 152]]], "pen": 20}, "faint", id="shorter than the pen is wide"),
        pytest.param({"strokes": SEVEN}, None, id="a seven"),
        pytest.param({"strokes": [[[x, y, 10.5 * t] for t, (x, y) in enumerate(SEVEN[0])]]}, None, id="with times"),
        pytest.param({"strokes": [[[60, 60], [240, 60, 5]], [[240, 60], [130, 260, 0]]]}, None, id="some with times"),
        pytest.param({"strokes": [[[10, 10], [599, 599]]]}, None, id="leaves the canvas"),
        pytest.param({"width": 300.5, "height": 1e3}, None, id="sizes are numbers"),
        pytest.param({"colour": "red", "strokes": SEVEN}, None, id="unknown fields are ignored"),
    ],
)
def test_blank_and_faint_strokes_have_an_ink_problem(fields: dict[str, Any], problem: str | None) -> None:
    read = parse_drawing(body(**fields), JSON)
    assert read.ink_problem() == problem
    assert read.frame().shape == (28, 28)


@pytest.mark.parametrize("wanted", [True, False])
def test_a_body_can_ask_for_the_frame(wanted: bool) -> None:
    assert parse_request(body(frame=wanted), JSON).wants_frame is wanted


def test_points_cut_at_the_edge_are_drawn_like_a_line_that_ends_there() -> None:
    beyond = parse_drawing(body(strokes=[[[150, 30], [150, 550]]]), JSON)
    at_edge = parse_drawing(body(strokes=[[[150, 30], [150, 300]]]), JSON)
    assert (beyond.frame() == at_edge.frame()).all()


@pytest.mark.parametrize("kind", [JSON, "application/json; charset=utf-8", "APPLICATION/JSON", "application/problem+json"])
def test_json_content_types_are_read(kind: str) -> None:
    assert parse_drawing(body(), kind).ink_problem() is None


def test_a_byte_order_mark_before_the_body_is_no_part_of_it() -> None:
    assert (parse_drawing(b"\xef\xbb\xbf" + body(), JSON).frame() == parse_drawing(body(), JSON).frame()).all()


@pytest.mark.parametrize("line_end", ["\r\n", "\n"])
def test_line_breaks_within_base64_as_mime_has_them_are_read(line_end: str) -> None:
    data = png(drawn_seven())
    lines = base64.encodebytes(data).decode().replace("\n", line_end)
    sent = json.dumps({"image": "data:image/png;base64," + lines}).encode()
    assert lines.count(line_end) > 1
    assert (parse_drawing(sent, JSON).frame() == parse_drawing(picture_body(data), JSON).frame()).all()


def test_a_field_given_twice_counts_as_the_last() -> None:
    assert parse_drawing(b'{"width": 1, "height": 300, "width": 300, "strokes": []}', JSON) == Strokes(300, 300, [])


# What is refused

TOO_DEEP = b'{"width": 300, "height": 300, "strokes": ' + b"[" * 40_000 + b"]" * 40_000 + b"}"

REFUSED = {
    "not an object": (b"[1, 2]", "body: found an array of 2, wanted a JSON object"),
    "empty": (b"", "body: wanted JSON, found at line 1, column 1"),
    "cut": (body()[:-9], "body: wanted JSON, found at line 1"),
    "not UTF-8": (b'{"a": "\xff"}', "body: found a byte that is not UTF-8 at offset 7"),
    "UTF-16": (body().decode().encode("utf-16"), "body: found a byte that is not UTF-8 at offset 0"),
    "NaN": (b'{"width": NaN, "height": 300, "strokes": []}', "body: found NaN, wanted JSON"),
    "Infinity": (b'{"width": 3, "height": 300, "strokes": [[[Infinity, 3]]]}', "body: found Infinity, wanted JSON"),
    "minus Infinity": (b'{"width": 3, "height": 300, "strokes": [[[-Infinity, 3]]]}', "body: found -Infinity, wanted JSON"),
    "nested too deeply": (TOO_DEEP, "body: found arrays or objects nested too deeply"),
    "a number of 5,000 digits": (b'{"width": ' + b"9" * 5000 + b"}", "body: found a number with too many digits"),
    "nothing to read": (body(strokes=None), "body: found neither of strokes and image"),
    "two things to read": (body(image="data:"), "body: found both of strokes and image"),
    "no width": (body(width=None), "width: found nothing, wanted a number from 1 to 10000"),
    "width of text": (body(width="300"), 'width: found "300", wanted a number from 1 to 10000'),
    "width true": (body(width=True), "width: found true, wanted a number"),
    "width 0": (body(width=0), "width: found 0, wanted a number from 1 to 10000"),
    "height negative": (body(height=-3), "height: found -3, wanted a number from 1 to 10000"),
    "height too large": (body(height=10_001), "height: found 10001, wanted a number from 1 to 10000"),
    "height beyond floats": (b'{"width": 1, "height": 1e999, "strokes": []}', "height: found Infinity, wanted a number"),
    "height of 400 digits": (b'{"width": 1, "height": 1' + b"0" * 400 + b', "strokes": []}', "height: found Infinity, wanted a number"),
    "pen 0": (body(pen=0), "pen: found 0.0, wanted more than 0"),
    "pen negative": (body(pen=-1), "pen: found -1, wanted a number from 0 to 300"),
    "pen wider than the canvas": (body(pen=301), "pen: found 301, wanted a number from 0 to 300"),
    "pen of text": (body(pen="thick"), 'pen: found "thick", wanted a number'),
    "frame of text": (body(frame="yes"), 'frame: found "yes", wanted true or false'),
    "frame 1": (body(frame=1), "frame: found 1, wanted true or false"),
    "strokes no array": (body(strokes={"a": 1}), "strokes: found an object of 1, wanted an array of strokes"),
    "stroke no array": (body(strokes=[SEVEN[0], 5]), "strokes[1]: found 5, wanted an array of points"),
    "point no array": (body(strokes=[[[1, 2], 7]]), "strokes[0][1]: found 7, wanted [x, y] or [x, y, t_ms]"),
    "point of text": (body(strokes=[["ab"]]), 'strokes[0][0]: found "ab", wanted [x, y] or [x, y, t_ms]'),
    "point an object": (body(strokes=[[{"x": 1, "y": 2}]]), "strokes[0][0]: found an object of 2, wanted [x, y] or [x, y, t_ms]"),
    "point of one": (body(strokes=[[[1]]]), "strokes[0][0]: found an array of 1, wanted [x, y] or [x, y, t_ms]"),
    "point of four": (body(strokes=[[[1, 2, 3, 4]]]), "strokes[0][0]: found an array of 4, wanted [x, y] or [x, y, t_ms]"),
    "x of text": (body(strokes=[SEVEN[0], [[1, 2], ["3", 4]]]), 'strokes[1][1][0]: found "3", wanted a number from -300 to 600'),
    "y null": (body(strokes=[[[1, [None]]]]), "strokes[0][0][1]: found an array of 1, wanted a number from -300 to 600"),
    "x true": (body(strokes=[[[True, 2]]]), "strokes[0][0][0]: found true, wanted a number from -300 to 600"),
    "x far left": (
        body(strokes=[[[-301, 2]]]),
        "strokes[0][0][0]: found -301, wanted a number from -300 to 600, one canvas beyond each edge",
    ),
    "y far down": (body(strokes=[[[2, 600.5]]]), "strokes[0][0][1]: found 600.5, wanted a number from -300 to 600"),
    "x beyond floats": (b'{"width": 300, "height": 300, "strokes": [[[1e999, 1]]]}', "strokes[0][0][0]: found Infinity, wanted a number"),
    "x of 400 digits": (
        b'{"width": 300, "height": 300, "strokes": [[[1, 1' + b"0" * 400 + b"]]]}",
        "strokes[0][0][1]: found Infinity, wanted a number",
    ),
    "time negative": (body(strokes=[[[1, 2, -1]]]), "strokes[0][0][2]: found -1, wanted a time of 0 ms or more"),
    "time of text": (body(strokes=[[[1, 2], [1, 2, "now"]]]), 'strokes[0][1][2]: found "now", wanted a time of 0 ms or more'),
    "long text": (body(width="x" * 1000), 'width: found "' + "x" * 35 + " …, wanted a number"),
}


@pytest.mark.parametrize(("sent", "message"), REFUSED.values(), ids=REFUSED.keys())
def test_an_invalid_drawing_is_refused_naming_the_field_the_value_and_what_is_wanted(sent: bytes, message: str) -> None:
    with pytest.raises(InvalidDrawing) as refused:
        parse_drawing(sent, JSON)
    assert str(refused.value).startswith(message)


@pytest.mark.parametrize(
    "kind", [None, "", "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "image/png"]
)
def test_other_content_types_are_refused(kind: str | None) -> None:
    with pytest.raises(UnsupportedContent, match="wanted application/json"):
        parse_drawing(body(), kind)


@pytest.mark.parametrize(
    ("strokes", "message"),
    [
        pytest.param([[[1, 1]]] * 1001, "strokes: found 1001 strokes, wanted at most 1000", id="strokes"),
        pytest.param([[[1, 1]] * 10_000, [[1, 1]] * 10_001], "strokes: found 20001 points, wanted at most 20000", id="points"),
    ],
)
def test_more_ink_than_a_request_may_hold_is_too_large(strokes: Any, message: str) -> None:
    with pytest.raises(DrawingTooLarge) as refused:
        parse_drawing(body(strokes=strokes), JSON)
    assert str(refused.value) == message


def test_as_much_ink_as_a_request_may_hold_is_read() -> None:
    spiral = [[150 + t / 150 * np.cos(t / 50), 150 + t / 150 * np.sin(t / 50)] for t in range(20_000)]
    assert parse_drawing(body(strokes=[spiral[k : k + 20] for k in range(0, 20_000, 20)]), JSON).frame().any()


# Pictures

SEVEN_FRAME = frame_from_picture(255 - np.asarray(drawn_seven()))


def transparent(image: Image.Image) -> Image.Image:
    """The same ink on nothing at all."""
    return Image.merge("LA", (image, image.point(lambda grey: 255 - grey)))


PICTURES = {
    "grey": png(drawn_seven()),
    "black and white": png(drawn_seven(mode="1")),
    "palette": png(drawn_seven(mode="P")),
    "colour": png(drawn_seven(mode="RGB")),
    "colour with alpha": png(drawn_seven(mode="RGBA")),
    "transparent paper": png(transparent(drawn_seven()).convert("RGBA")),
    "transparent paper, grey": png(transparent(drawn_seven())),
    "one clear colour": png(drawn_seven(mode="RGB"), transparency=(255, 255, 255)),
    "one clear grey": png(drawn_seven(), transparency=255),
    "a palette's clear colour": png(drawn_seven(mode="P"), transparency=255),
    "16 bit": png(Image.fromarray(np.asarray(drawn_seven()).astype(np.uint16) * 257)),
    "16 bit with a clear grey": png(Image.fromarray(np.asarray(drawn_seven()).astype(np.uint16) * 257), transparency=65535),
    "blue ink": png(Image.merge("RGB", (drawn_seven(), drawn_seven(), drawn_seven(pen=120)))),
    "cream paper": png(drawn_seven(paper=240)),
    "grey paper": png(drawn_seven(paper=180)),
}


@pytest.mark.parametrize("data", PICTURES.values(), ids=PICTURES.keys())
def test_a_png_of_any_mode_is_dark_ink_on_light_paper(data: bytes) -> None:
    read = parse_drawing(picture_body(data), JSON)
    assert isinstance(read, Picture)
    assert read.ink_problem() is None
    assert np.abs(read.frame().astype(int) - SEVEN_FRAME).mean() < 1  # of 255


def test_half_transparent_ink_is_half_as_dark() -> None:
    half = Image.new("LA", (2, 2), (0, 0))
    half.putpixel((0, 0), (0, 128))
    read = parse_drawing(picture_body(png(half)), JSON)
    assert isinstance(read, Picture)
    assert set(read.ink.ravel().tolist()) == {0, 128}


@pytest.mark.parametrize(
    ("image", "problem"),
    [
        pytest.param(Image.new("L", (100, 100), 255), "blank", id="white"),
        pytest.param(Image.new("LA", (100, 100), (0, 0)), "blank", id="transparent"),
        pytest.param(Image.new("L", (100, 100), 150), "blank", id="grey all over"),
        pytest.param(Image.new("L", (100, 100), 0), None, id="black all over"),
        pytest.param(drawn_seven(pen=180), "faint", id="light pencil"),
        pytest.param(Image.new("L", (1, 1), 0), None, id="one dark pixel, all of the picture"),
        pytest.param(drawn_seven(), None, id="a seven"),
    ],
)
def test_blank_and_faint_pictures_have_an_ink_problem(image: Image.Image, problem: str | None) -> None:
    assert parse_drawing(picture_body(png(image)), JSON).ink_problem() == problem


def test_a_speck_in_a_picture_is_faint() -> None:
    image = Image.new("L", (300, 300), 255)
    image.paste(0, (140, 140, 158, 158))
    assert parse_drawing(picture_body(png(image)), JSON).ink_problem() == "faint"


def header(width: int, height: int) -> bytes:
    """The header of a PNG of that size, without pixels."""
    chunk = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))


@pytest.mark.parametrize("size", [(4097, 1), (1, 4097), (4096, 4096), (2049, 2048), (2**31 - 1, 2**31 - 1)])
def test_a_picture_is_too_large_before_any_of_it_is_decoded(size: tuple[int, int]) -> None:
    with pytest.raises(DrawingTooLarge, match=f"image: found {size[0]}x{size[1]} px, wanted at most 4096 a side and 4194304 in all"):
        parse_drawing(picture_body(header(*size)), JSON)


def test_the_largest_picture_is_read() -> None:
    read = parse_drawing(picture_body(png(drawn_seven(side=2048))), JSON)
    assert np.abs(read.frame().astype(int) - SEVEN_FRAME).mean() < 2


@pytest.mark.parametrize(
    ("image", "message"),
    [
        pytest.param(5, "image: found 5, wanted a data URL", id="a number"),
        pytest.param("", 'image: found "", wanted a data URL that begins with data:image/png;base64,', id="no text"),
        pytest.param("data:image/jpeg;base64,AAAA", 'image: found "data:image/jpeg;base64,AAAA", wanted a data URL', id="a JPEG"),
        pytest.param("https://example.org/7.png", 'image: found "https://example.org/7.png", wanted a data URL', id="an address"),
        pytest.param(url(PICTURES["grey"])[:-1] + "!", "image: found text that is not base64", id="not base64"),
        pytest.param(url(PICTURES["grey"]).replace("iVBOR", "iVB OR"), "image: found text that is not base64", id="a space in base64"),
        pytest.param(url(PICTURES["grey"]) + "ü", "image: found text that is not base64", id="not ASCII"),
        pytest.param(url(b"\xff\xd8\xff\xe0" + b"\0" * 100), "image: found 104 bytes that do not begin as a PNG", id="a JPEG called PNG"),
        pytest.param(url(b""), "image: found 0 bytes that do not begin as a PNG", id="nothing"),
        pytest.param(url(header(0, 5)), "image: found a PNG of 0x5 px", id="no width"),
        pytest.param(url(header(5, 5)), "image: found a PNG that cannot be decoded", id="a header alone"),
        pytest.param(url(PICTURES["grey"][:-200]), "image: found a PNG that cannot be decoded", id="cut"),
    ],
)
def test_an_invalid_png_is_refused(image: Any, message: str) -> None:
    with pytest.raises(InvalidDrawing) as refused:
        parse_drawing(json.dumps({"image": image}).encode(), JSON)
    assert str(refused.value).startswith(message)


@settings(max_examples=200, deadline=None)
@given(at=st.integers(0, len(PICTURES["palette"]) - 1), byte=st.integers(0, 255))
def test_a_damaged_png_is_read_or_refused_and_nothing_else(at: int, byte: int) -> None:
    data = PICTURES["palette"]
    try:
        parse_drawing(picture_body(data[:at] + bytes([byte]) + data[at + 1 :]), JSON).frame()
    except GatewayError:
        pass


# The original demo's body


def new_data(values: Any) -> bytes:
    return json.dumps({"new_data": values}).encode()


def test_new_data_is_white_ink_on_black_paper_row_by_row() -> None:
    greys = (255 - np.asarray(drawn_seven(side=500))) / 255
    read = parse_new_data(new_data(greys.ravel().tolist()))
    assert read.ink_problem() is None
    assert (read.ink == 255 - np.asarray(drawn_seven(side=500))).all()


@pytest.mark.parametrize("side", [1, 28, 300, 1024])
def test_new_data_of_any_square_size_is_read(side: int) -> None:
    assert parse_new_data(new_data([0] * side * side)).ink.shape == (side, side)


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        pytest.param(b"{}", "new_data: found nothing, wanted an array of numbers from 0 to 1", id="missing"),
        pytest.param(new_data("abc"), 'new_data: found "abc", wanted an array', id="text"),
        pytest.param(new_data([]), "new_data: found 0 numbers, wanted those of a square canvas", id="empty"),
        pytest.param(new_data([0] * 783), "new_data: found 783 numbers, wanted those of a square canvas", id="not square"),
        pytest.param(new_data([0, 0, 1.5, 0]), "new_data[2]: found 1.5, wanted a number from 0 to 1", id="above 1"),
        pytest.param(new_data([0, -0.1, 0, 0]), "new_data[1]: found -0.1, wanted a number from 0 to 1", id="below 0"),
        pytest.param(new_data([0, 0, 0, None]), "new_data[3]: found nothing, wanted a number from 0 to 1", id="null"),
        pytest.param(new_data([0, 0, True, 0]), "new_data[2]: found true, wanted a number from 0 to 1", id="true"),
        pytest.param(new_data([[0, 0], [0, 0], 0, 0]), "new_data[0]: found an array of 2, wanted a number from 0 to 1", id="rows"),
        pytest.param(b'{"new_data": [0, NaN, 0, 0]}', "body: found NaN, wanted JSON", id="NaN"),
        pytest.param(b'{"new_data": [0, 1' + b"0" * 400 + b", 0, 0]}", "new_data[1]: found Infinity, wanted a number", id="400 digits"),
    ],
)
def test_new_data_that_is_no_square_of_greys_is_refused(sent: bytes, message: str) -> None:
    with pytest.raises(InvalidDrawing) as refused:
        parse_new_data(sent)
    assert str(refused.value).startswith(message)


def test_new_data_of_too_many_pixels_is_too_large() -> None:
    with pytest.raises(DrawingTooLarge, match="new_data: found 1048577 numbers, wanted at most 1048576"):
        parse_new_data(b'{"new_data":[' + b"0," * (1024 * 1024) + b"0]}")


@pytest.mark.parametrize("value", [b"{}", b"[]", b"0.5"])
def test_a_body_of_more_values_than_any_drawing_has_is_refused_before_it_is_read(value: bytes) -> None:
    with pytest.raises(DrawingTooLarge, match=r"body: found \d+ (arrays and objects|values), wanted at most"):
        parse_new_data(b'{"new_data":[' + b",".join([value] * 1_100_000) + b"]}")


# Whatever is sent

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=12,
)
number = st.integers(-400, 700) | st.floats(-400, 700) | anything
nearly_a_drawing = st.fixed_dictionaries(
    {"width": st.integers(-1, 400) | anything, "height": st.integers(1, 400) | anything},
    optional={
        "strokes": st.lists(st.lists(st.lists(number, min_size=1, max_size=4) | anything, max_size=4) | anything, max_size=4) | anything,
        "pen": number,
        "frame": anything,
        "image": st.binary(max_size=60).map(url) | anything,
        "new_data": st.lists(number, max_size=9) | anything,
    },
)


@settings(max_examples=300, deadline=None)
@given(sent=st.binary(max_size=200) | (anything | nearly_a_drawing).map(lambda value: json.dumps(value).encode()))
def test_only_gateway_errors_come_out_whatever_is_sent(sent: bytes) -> None:
    for parse in (lambda: parse_drawing(sent, JSON), lambda: parse_new_data(sent)):
        try:
            read = parse()
        except GatewayError as error:
            refused = str(error)
        else:
            read.ink_problem()
            assert read.frame().dtype == np.uint8
            continue
        assert "wanted" in refused
        assert len(refused) < 300


coordinate = st.floats(-300, 600, allow_nan=False) | st.integers(-300, 600)
point = st.tuples(coordinate, coordinate).map(list) | st.tuples(coordinate, coordinate, st.floats(0, 1e6)).map(list)


@settings(max_examples=200, deadline=None)
@given(strokes=st.lists(st.lists(point, max_size=8), max_size=5))
def test_every_drawing_within_the_bounds_is_read_and_drawn_alike(strokes: list[Any]) -> None:
    read = parse_drawing(body(strokes=strokes), JSON)
    assert (read.frame() == rasterise(clip_strokes(strokes, 300, 300))).all()


def test_limits_are_those_of_the_document() -> None:
    """openapi.json is data: it cannot import the constants."""
    schemas = json.loads(OPENAPI.read_text())["components"]["schemas"]
    strokes, picture = schemas["Strokes"]["properties"], schemas["Picture"]["properties"]
    assert strokes["width"]["maximum"] == strokes["height"]["maximum"] == drawing.MAX_CANVAS_PX
    assert strokes["strokes"]["maxItems"] == drawing.MAX_STROKES
    assert f"{drawing.MAX_POINTS:,} points" in strokes["strokes"]["description"]
    assert f"{drawing.MAX_PICTURE_SIDE_PX:,} px a side and {drawing.MAX_PICTURE_PX:,} px in all" in picture["image"]["description"]
    assert schemas["NewData"]["properties"]["new_data"]["maxItems"] == drawing.MAX_GREYS
