"""What one machine can do to a gateway, played on loopback: `python -m tests.attack`."""
