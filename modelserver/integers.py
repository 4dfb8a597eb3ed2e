"""Integers as TensorFlow Serving reads them from flags and folder names: as absl::SimpleAtoi does."""

import re


def integer(text: str, bits: int = 64) -> int | None:
    """The signed integer of `bits` bits that the whole text is (007, +5 and -1 are; blanks around it are skipped), or None."""
    match = re.fullmatch(r"[ \t\n\v\f\r]*([+-]?)0*([0-9]{1,19})[ \t\n\v\f\r]*", text)
    number = int(match[1] + match[2]) if match else 2**63
    return number if -(2 ** (bits - 1)) <= number < 2 ** (bits - 1) else None
