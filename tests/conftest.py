"""What every suite may use."""

from pathlib import Path

import pytest

from tests import stack


@pytest.fixture(scope="session")
def tiny_store() -> Path:
    """A store root with digits/1 and digits/2, really trained; nothing may be changed in it."""
    return stack.tiny_store()
