"""How fast the whole path and its parts are: `python -m tests.bench`."""
