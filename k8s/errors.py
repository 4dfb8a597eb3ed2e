"""Why a command of `python -m k8s` ended without doing what it is for, in a sentence.

CommandError
├── Refused           nothing was changed
├── RolloutStalled    the release was changed and its pods do not become ready
└── StaleFile         a generated file differs from what would be generated now
"""


class CommandError(Exception):
    """A command ended early; the message is for people."""

    exit_code = 1


class Refused(CommandError):
    """Nothing was changed; exit code 2."""

    exit_code = 2


class RolloutStalled(CommandError):
    """The release was changed, and its new pods fail or take too long; exit code 1."""


class StaleFile(CommandError):
    """A generated file is not up to date; exit code 1."""
