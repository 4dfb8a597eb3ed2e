"""The card, a version's own account of itself, read from the model's reply: named fields only, each of them checked.

A model is a program that somebody published. Whatever else its card holds is not passed on.
"""

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn

from gateway.errors import BadModelReply

MAX_CARD_BYTES = 64 * 1024  # the trainer's take about 8,000
_MAX_COUNT = 10**9  # of images; arbitrary, far beyond any test set

Check = Callable[[str, Any], Any]
"""Takes a field's path and its value; returns the value to publish or raises BadModelReply."""


def parse_card(text: bytes, version: int) -> dict[str, Any]:
    """The fields that are published of a card.

    text: JSON, as the model's signature `card` replies. version: the version that replied; the card must be its own.
    Raises BadModelReply where a field is missing or is not what it must be.
    """
    if len(text) > MAX_CARD_BYTES:
        _refuse("it", f"{len(text)} bytes", f"at most {MAX_CARD_BYTES}")
    try:
        card = json.loads(text, parse_constant=lambda token: _refuse("it", token, "finite numbers"))
    except (ValueError, RecursionError) as exc:
        raise BadModelReply("the model's card is not JSON", detail=str(exc)) from exc
    checked: dict[str, Any] = _CARD("it", card)
    if checked["version"] != version:
        _refuse("version", checked["version"], f"{version}, which answered")
    return checked


def _refuse(path: str, found: Any, wanted: str) -> NoReturn:
    shown = "an array" if isinstance(found, list) else "an object" if isinstance(found, dict) else str(found)[:40]
    raise BadModelReply(f"the model's card was refused: {path} is {shown}, wanted {wanted}")


def _number(low: float, high: float) -> Check:
    def check(path: str, value: Any) -> float:
        if type(value) not in (int, float) or not low <= value <= high:
            _refuse(path, value, f"a number from {low:g} to {high:g}")
        return float(value)

    return check


def _integer(low: int, high: int) -> Check:
    def check(path: str, value: Any) -> int:
        if type(value) is not int or not low <= value <= high:
            _refuse(path, value, f"a whole number from {low} to {high}")
        return value

    return check


def _text(pattern: str) -> Check:
    def check(path: str, value: Any) -> str:
        if type(value) is not str or not re.fullmatch(pattern, value):
            _refuse(path, value, f"text of the form {pattern}")
        return value

    return check


def _list(item: Check, least: int, most: int) -> Check:
    def check(path: str, value: Any) -> list[Any]:
        if type(value) is not list or not least <= len(value) <= most:
            _refuse(path, value, f"an array of {least} to {most}")
        return [item(f"{path}[{k}]", each) for k, each in enumerate(value)]

    return check


def _object(fields: dict[str, Check]) -> Check:
    def check(path: str, value: Any) -> dict[str, Any]:
        if type(value) is not dict:
            _refuse(path, value, "an object")
        parent = "" if path == "it" else f"{path}."
        for name in fields:
            if name not in value:
                _refuse(f"{parent}{name}", "nothing", "a value")
        return {name: field(f"{parent}{name}", value[name]) for name, field in fields.items()}

    return check


_NAME = _text(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
_SHARE, _COUNT = _number(0, 1), _integer(0, _MAX_COUNT)
_RELIABILITY = _list(_object({"low": _SHARE, "high": _SHARE, "count": _COUNT, "confidence": _SHARE, "accuracy": _SHARE}), 0, 100)
_LOSS = _number(0, 1000)  # nats

_CARD = _object(
    {
        "model": _NAME,
        "version": _integer(1, (1 << 63) - 1),
        "signature_version": _integer(1, 1000),
        "ink_version": _integer(1, 1000),
        "recipe": _NAME,
        "threshold": _SHARE,
        "prior": _SHARE,
        "prior_shift": _text(r"[ -~]{0,200}"),
        "ambiguous": _object({"max_probability": _SHARE, "min_pair": _SHARE}),
        "metrics": _object(
            {
                "n": _COUNT,
                "accuracy": _SHARE,
                "nll": _LOSS,
                "ece": _SHARE,
                "ece_floor": _SHARE,
                "errors_by_digit": _list(_COUNT, 10, 10),
                "validation_accuracy": _SHARE,
            }
        ),
        "reliability": _RELIABILITY,
        "mixes": _list(
            _object(
                {
                    "non_digit_share": _SHARE,
                    "digits": _COUNT,
                    "non_digits": _COUNT,
                    "ece": _SHARE,
                    "ece_interval": _list(_SHARE, 2, 2),
                    "nll": _LOSS,
                }
            ),
            0,
            10,
        ),
        "confidence_histogram": _object({"edges": _list(_SHARE, 2, 101), "counts": _list(_COUNT, 1, 100)}),
    }
)
