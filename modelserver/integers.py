"""Integers as TensorFlow Serving reads them from flags, folder names and paths: as absl::SimpleAtoi does."""

import re

_INTEGER = re.compile(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]+)[ \t\n\v\f\r]*")


def integer(text: str, bits: int = 64) -> int | None:
    """The signed integer of so many bits that all of the text is: 007, +5 and -1 count, blanks around it too. None where it is none."""
    match = _INTEGER.fullmatch(text)
    if not match or len(match[2]) > 19:
        return None
    number = int(match[1] + match[2])
    return number if -(2 ** (bits - 1)) <= number < 2 ** (bits - 1) else None
