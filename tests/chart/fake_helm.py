#!/usr/bin/env python3
"""A fake helm: answers what `python -m k8s` asks from the JSON file that $FAKE_HELM names, and records its calls there."""

import json
import os
import sys
from pathlib import Path

path = Path(os.environ["FAKE_HELM"])
facts = json.loads(path.read_text())
arguments = sys.argv[3:]  # after --namespace NAMESPACE
facts["calls"].append(sys.argv[1:])
path.write_text(json.dumps(facts))
if facts.get("error"):
    sys.exit(f"Error: {facts['error']}")
if arguments[0] == "history":
    print(json.dumps(facts["history"]))
elif arguments[0] == "show":
    print("apiVersion: v2\nname: pynumdraw\nversion: 0.2.0")
elif arguments[:2] == ["get", "metadata"]:
    print(json.dumps({"applyMethod": facts["apply_method"]} if facts.get("apply_method") else {}))
elif arguments[:2] == ["get", "manifest"]:
    print(facts.get("manifest", ""))
elif arguments[0] == "upgrade" and "--dry-run=server" in arguments:
    print(json.dumps({"manifest": facts["manifest"]}))
elif arguments[:2] == ["get", "values"]:
    at = arguments[arguments.index("--revision") + 1] if "--revision" in arguments else str(facts["history"][-1]["revision"])
    print(json.dumps({"model": {"name": "digits", "policy": "version", "version": facts["versions"][at]}}))
