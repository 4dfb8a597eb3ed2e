#!/usr/bin/env python3
"""A helm of our own: answers what `python -m k8s` asks from the JSON file in $FAKE_HELM, and notes there what it was told to do."""

import json
import os
import sys
from pathlib import Path

state = Path(os.environ["FAKE_HELM"])
known = json.loads(state.read_text())
words = sys.argv[3:]  # after --namespace NAMESPACE
known["calls"].append(sys.argv[1:])
state.write_text(json.dumps(known))
if known.get("error"):
    sys.exit(f"Error: {known['error']}")
if words[0] == "history":
    print(json.dumps(known["history"]))
elif words[0] == "show":
    print("apiVersion: v2\nname: pynumdraw\nversion: 0.2.0")
elif words[:2] == ["get", "values"]:
    at = words[words.index("--revision") + 1] if "--revision" in words else str(known["history"][-1]["revision"])
    print(json.dumps({"model": {"name": "digits", "policy": "version", "version": known["versions"][at]}}))
