"""The card that a model replies with: named fields come through, each checked; nothing else does."""

import json
from typing import Any

import pytest

from gateway.card import MAX_CARD_BYTES, parse_card
from gateway.errors import BadModelReply
from tests.contract.fake_serving import CARD

GOOD = {**CARD, "version": 3}


def parse(card: Any, version: int = 3) -> dict[str, Any]:
    return parse_card(json.dumps(card).encode(), version)


def with_value(path: str, value: Any) -> dict[str, Any]:
    """The good card with another value at a path of names and indexes, separated by dots."""
    card = json.loads(json.dumps(GOOD))
    *parents, last = [int(name) if name.isdigit() else name for name in path.split(".")]
    inner = card
    for name in parents:
        inner = inner[name]
    inner[last] = value
    return card


def test_a_good_card_comes_through_as_it_is() -> None:
    assert parse(GOOD) == GOOD


def test_fields_without_a_name_here_do_not_come_through_at_any_depth() -> None:
    card = with_value("metrics.environ", {"SECRET": "1"})
    card["mixes"][0]["path"] = "/secret"
    assert parse({**card, "environ": {"PATH": "/bin", "SECRET": "1"}}) == GOOD


@pytest.mark.parametrize("name", GOOD)
def test_a_missing_field_is_named(name: str) -> None:
    with pytest.raises(BadModelReply, match=f"the model's card was refused: {name} is nothing, wanted a value"):
        parse({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("threshold", 1.5, "threshold is 1.5, wanted a number from 0 to 1"),
        ("threshold", True, "threshold is True, wanted a number from 0 to 1"),
        ("threshold", "0.5", "threshold is 0.5, wanted a number from 0 to 1"),
        ("prior", None, "prior is None, wanted a number from 0 to 1"),
        ("model", "<script>", "model is <script>, wanted text of the form"),
        ("model", "a" * 200, f"model is {'a' * 40}, wanted text of the form"),
        ("recipe", "SECRET=1\nPATH=/bin", "recipe is "),
        ("prior_shift", "a" * 201, "prior_shift is "),
        ("prior_shift", "\u202e", "prior_shift is "),
        ("version", 4, "version is 4, wanted 3, which answered"),
        ("version", 3.0, "version is 3.0, wanted a whole number from 1 to 9223372036854775807"),
        ("ink_version", 10**30, "ink_version is 1000000000000000000000000000000, wanted a whole number from 1 to 1000"),
        ("ambiguous", [1], "ambiguous is an array, wanted an object"),
        ("ambiguous.min_pair", {}, "ambiguous.min_pair is an object, wanted a number from 0 to 1"),
        ("metrics.errors_by_digit", [0] * 9, "metrics.errors_by_digit is an array, wanted an array of 10"),
        ("metrics.errors_by_digit.3", -1, r"metrics.errors_by_digit[3] is -1, wanted a whole number"),
        ("reliability", [GOOD["reliability"][0]] * 101, "reliability is an array, wanted an array of 0 to 100"),
        ("reliability.0.count", 0.5, "reliability[0].count is 0.5, wanted a whole number"),
        ("mixes.0.ece_interval", [0.1], "mixes[0].ece_interval is an array, wanted an array of 2"),
        ("confidence_histogram.edges.1", 2, "confidence_histogram.edges[1] is 2, wanted a number from 0 to 1"),
    ],
)
def test_a_value_that_is_not_what_it_must_be_is_named_with_what_was_wanted(path: str, value: Any, message: str) -> None:
    with pytest.raises(BadModelReply) as refused:
        parse(with_value(path, value))
    assert f"the model's card was refused: {message}" in str(refused.value)


@pytest.mark.parametrize("token", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_numbers_that_are_not_finite_do_not_come_through(token: str) -> None:
    text = json.dumps(GOOD).replace('"threshold": 0.6', f'"threshold": {token}')
    with pytest.raises(BadModelReply, match="the model's card was refused: "):
        parse_card(text.encode(), 3)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"{", id="cut"),
        pytest.param(b"\xff", id="no text"),
        pytest.param(b"[" * 30_000 + b"]" * 30_000, id="30,000 levels"),
        pytest.param(b'{"a":' * 10_000 + b"1" + b"}" * 10_000, id="10,000 levels of objects"),
        pytest.param(b'{"version": ' + b"9" * 5_000 + b"}", id="a number of 5,000 digits"),
        pytest.param(b"[]", id="an array"),
        pytest.param(b"null", id="nothing"),
        pytest.param(b" " * (MAX_CARD_BYTES + 1), id="too long"),
        pytest.param(json.dumps({"environ": {"SECRET": "1"}}).encode(), id="the environment"),
    ],
)
def test_what_is_no_card_is_refused_in_a_sentence(text: bytes) -> None:
    with pytest.raises(BadModelReply) as refused:
        parse_card(text, 3)
    assert str(refused.value).startswith("the model's card ")
    assert "SECRET" not in str(refused.value)
