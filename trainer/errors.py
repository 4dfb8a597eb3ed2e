"""The errors for which the trainer refuses: exit code 2, one sentence on stderr, no version written.

Refused
├── IdxFormatError   a file that is no valid IDX file of its kind
├── DataError        images and labels that cannot be trained on
└── TrainingError    a model that must not be served
"""

from pathlib import Path


class Refused(Exception):
    """The command cannot be carried out, for a reason that the user can act on."""


class IdxFormatError(Refused):
    """A file is no valid IDX file of its kind."""

    def __init__(self, path: Path, wanted: str, found: str) -> None:
        super().__init__(f"{path}: wanted {wanted}, found {found}")
        self.path, self.wanted, self.found = path, wanted, found


class DataError(Refused):
    """The images and labels cannot be trained on."""


class TrainingError(Refused):
    """Training gave a model that must not be served."""
