"""What every suite may use."""

import signal
from pathlib import Path

import pytest

from tests import stack


@pytest.fixture(scope="session")
def tiny_store() -> Path:
    """A store root with digits/1 and digits/2, really trained; nothing may be changed in it."""
    return stack.tiny_store()


def pytest_configure() -> None:
    """A shell starts what it puts in the background with SIGINT ignored, and the programs that tests send it to would inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
