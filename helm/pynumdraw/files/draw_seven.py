"""Draw a 7 through the Service and check the answer: `helm test` runs this in the gateway's image.

usage: draw_seven.py URL MODEL VERSION        VERSION "latest" takes any
"""

import json
import sys
import urllib.request

SEVEN = {"width": 280, "height": 280, "strokes": [[[60, 60], [130, 58], [205, 60], [180, 120], [150, 180], [125, 240]]]}

url, model, version = sys.argv[1:]
request = urllib.request.Request(f"{url}/api/v1/predict", json.dumps(SEVEN).encode(), {"Content-Type": "application/json"})
with urllib.request.urlopen(request, timeout=10) as reply:
    answer = json.load(reply)
print(json.dumps(answer))
wanted = {"digit": 7, "name": model, "version": version}
found = {"digit": answer["digit"], "name": answer["model"]["name"], "version": str(answer["model"]["version"])}
if version == "latest":
    wanted["version"] = found["version"]
if found != wanted:
    sys.exit(f"found {found}, wanted {wanted}")
