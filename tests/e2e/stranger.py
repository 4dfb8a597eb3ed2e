"""Which doors are open to this pod: stranger.py HOST:PORT…  prints {"host:port": "open" | why not} as JSON."""

import json
import socket
import sys


def knock(address: str) -> str:
    """What a connection to the address meets. A NetworkPolicy drops it, so nothing is heard."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=3):
            return "open"
    except OSError as exc:
        return type(exc).__name__


print(json.dumps({address: knock(address) for address in sys.argv[1:]}))
