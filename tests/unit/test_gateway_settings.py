"""gateway.settings: valid and invalid environment variables."""

import inspect
from dataclasses import fields
from typing import Any

import pytest

from gateway.settings import PREFIX, Settings, SettingsError


def test_an_empty_environment_gives_the_defaults() -> None:
    assert Settings.from_env({"HOME": "/root", "GATE": "x"}) == Settings()


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("HOST", "0.0.0.0", "0.0.0.0"),
        ("PORT", "80", 80),
        ("MANAGEMENT_PORT", "0", 0),
        ("BASE_PATH", "/digits", "/digits"),
        ("SERVING_ADDRESS", "pynumdraw-serving.default.svc:8500", "pynumdraw-serving.default.svc:8500"),
        ("SERVING_ADDRESS", "[::1]:8500", "[::1]:8500"),
        ("SERVING_ADDRESS", "unix:/run/serving.sock", "unix:/run/serving.sock"),
        ("MODEL_NAME", "digits", "digits"),
        ("PREDICT_TIMEOUT_S", "0.5", 0.5),
        ("MAX_IN_FLIGHT", "4", 4),
        ("MAX_BODY_BYTES", "1000", 1000),
        ("KEEP_ALIVE_S", "75", 75.0),
        ("REQUEST_TIMEOUT_S", "5", 5.0),
        ("SHUTDOWN_DELAY_S", "0", 0.0),
        ("DRAIN_S", "30", 30.0),
        ("DNS_REFRESH_S", "1", 1.0),
        ("LOG_LEVEL", "debug", "debug"),
    ],
)
def test_each_variable_sets_its_field(name: str, text: str, value: Any) -> None:
    read = getattr(Settings.from_env({PREFIX + name: text}), name.lower())
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(
    ("environ", "message"),
    [
        ({"PORT": "tcp://10.0.0.1:80"}, "GATEWAY_PORT='tcp://10.0.0.1:80': wanted a whole number (int)"),
        ({"PORT": "70000"}, "GATEWAY_PORT=70000: wanted 0 to 65535"),
        ({"PORT": ""}, "GATEWAY_PORT='': wanted a whole number (int)"),
        ({"PORT": "9090"}, "GATEWAY_PORT=9090: wanted another port than GATEWAY_MANAGEMENT_PORT"),
        ({"MANAGEMENT_PORT": "-1"}, "GATEWAY_MANAGEMENT_PORT=-1: wanted 0 to 65535"),
        ({"PREDICT_TIMEOUT_S": "soon"}, "GATEWAY_PREDICT_TIMEOUT_S='soon': wanted a number (float)"),
        ({"PREDICT_TIMEOUT_S": "inf"}, "GATEWAY_PREDICT_TIMEOUT_S='inf': wanted a finite number (float)"),
        ({"PREDICT_TIMEOUT_S": "0"}, "GATEWAY_PREDICT_TIMEOUT_S=0.0: wanted more than 0, at most 3600 seconds"),
        ({"DRAIN_S": "-1"}, "GATEWAY_DRAIN_S=-1.0: wanted 0 to 3600 seconds"),
        ({"MAX_IN_FLIGHT": "0"}, "GATEWAY_MAX_IN_FLIGHT=0: wanted 1 or more"),
        ({"MAX_IN_FLIGHT": "1.5"}, "GATEWAY_MAX_IN_FLIGHT='1.5': wanted a whole number (int)"),
        (
            {"SERVING_ADDRESS": "serving"},
            "GATEWAY_SERVING_ADDRESS='serving': wanted one host:port",
        ),
        (
            {"SERVING_ADDRESS": ":8500"},
            "GATEWAY_SERVING_ADDRESS=':8500': wanted one host:port",
        ),
        (
            {"SERVING_ADDRESS": "serving:http"},
            "GATEWAY_SERVING_ADDRESS='serving:http': wanted one host:port",
        ),
        (
            {"SERVING_ADDRESS": "http://serving:8500"},
            "GATEWAY_SERVING_ADDRESS='http://serving:8500': wanted one host:port",
        ),
        (
            {"SERVING_ADDRESS": "dns:///serving:8500"},
            "GATEWAY_SERVING_ADDRESS='dns:///serving:8500': wanted one host:port",
        ),
        ({"SERVING_ADDRESS": "a:8500,b:8500"}, "GATEWAY_SERVING_ADDRESS='a:8500,b:8500': wanted one host:port"),
        ({"SERVING_ADDRESS": "::1:8500"}, "GATEWAY_SERVING_ADDRESS='::1:8500': wanted one host:port"),
        ({"MODEL_NAME": ""}, "GATEWAY_MODEL_NAME='': wanted a name"),
        ({"BASE_PATH": "digits"}, "GATEWAY_BASE_PATH='digits': wanted a path that begins with /"),
        ({"LOG_LEVEL": "loud"}, "GATEWAY_LOG_LEVEL='loud': wanted debug, info, warning or error"),
        ({"PROT": "8080"}, "GATEWAY_PROT='8080': there is no such setting; there are GATEWAY_HOST, GATEWAY_PORT, "),
        ({"SERVICE_HOST": "10.0.0.1"}, "GATEWAY_SERVICE_HOST='10.0.0.1': there is no such setting"),
    ],
)
def test_an_invalid_value_is_refused_naming_the_variable_and_what_is_wanted(environ: dict[str, str], message: str) -> None:
    with pytest.raises(SettingsError) as refused:
        Settings.from_env({PREFIX + name: text for name, text in environ.items()})
    assert str(refused.value).startswith(message)


def test_settings_cannot_change_and_each_says_what_it_is() -> None:
    with pytest.raises(AttributeError):
        Settings().port = 1  # type: ignore[misc]
    source = inspect.getsource(Settings)
    for field in fields(Settings):
        after = source.split(f"    {field.name}: ", 1)[1].splitlines()[1]
        assert after.strip().startswith('"""'), f"{field.name} has no sentence under it"
