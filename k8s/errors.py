"""Refused ── Stalled: why a command of `python -m k8s` ended without doing what was asked, in a sentence."""


class Refused(Exception):
    """Nothing was changed; exit code 2."""

    exit_code = 2


class Stalled(Refused):
    """The release was changed and does not get there; exit code 1."""

    exit_code = 1
