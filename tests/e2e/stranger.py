"""Which doors are open to this pod: stranger.py HOST:PORT…  prints {"host:port": "open" | why not} as JSON.

Each is tried again for a while: what lets a pod in may come a moment after the pod itself.
"""

import json
import socket
import sys
import time

PATIENCE_S = 10.0  # in all; a network that enforces policies learns of a new pod within a few seconds


def knock(address: str) -> str:
    """What a connection to the address meets. A NetworkPolicy drops it, so nothing is heard."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=3):
            return "open"
    except OSError as exc:
        return type(exc).__name__


found = dict.fromkeys(sys.argv[1:], "")
begin = time.monotonic()
while time.monotonic() - begin < PATIENCE_S and set(found.values()) != {"open"}:
    found |= {address: knock(address) for address, seen in found.items() if seen != "open"}
    time.sleep(0.5)
print(json.dumps(found))
