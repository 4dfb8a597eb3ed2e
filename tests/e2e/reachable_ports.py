"""Which ports this pod can connect to: reachable_ports.py HOST:PORT…  prints {"host:port": "open" | the error} as JSON.

Each is tried again for a while: the network learns of a new pod, and of what it may reach, a moment after the pod starts.
"""

import json
import socket
import sys
import time

RETRY_S = 10.0  # for all ports together; a network that enforces policies learns of a new pod within a few seconds


def connect(address: str) -> str:
    """What a connection to the address meets. A NetworkPolicy drops its packets, so a closed port is a timeout."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host, int(port)), timeout=3):
            return "open"
    except OSError as exc:
        return type(exc).__name__


results = dict.fromkeys(sys.argv[1:], "")
start = time.monotonic()
while time.monotonic() - start < RETRY_S and set(results.values()) != {"open"}:
    results |= {address: connect(address) for address, result in results.items() if result != "open"}
    time.sleep(0.5)
print(json.dumps(results))
