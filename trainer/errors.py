"""What makes the trainer refuse: exit code 2, one sentence on stderr, no version written.

Refused
├── IdxFormatError   a file that is not the IDX file it should be
├── DataError        images and labels that cannot be trained on
└── TrainingError    a model that came out unusable
"""

from pathlib import Path


class Refused(Exception):
    """The command will not go on, for a reason that the user can act on."""


class IdxFormatError(Refused):
    """A file does not hold what an IDX file of this kind holds."""

    def __init__(self, path: Path, wanted: str, found: str) -> None:
        super().__init__(f"{path}: wanted {wanted}, found {found}")
        self.path, self.wanted, self.found = path, wanted, found


class DataError(Refused):
    """The images and labels cannot be trained on."""


class TrainingError(Refused):
    """Training gave a model that must not be served."""
