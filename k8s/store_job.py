"""A short Job that lists the model store: only a pod can mount the store's volume."""

from typing import Any

from k8s.errors import Refused

TIMEOUT_S = 90  # arbitrary: to schedule a pod, pull an image that most nodes have, and hash a few versions
_COPIED_POD_FIELDS = (
    "serviceAccountName",
    "securityContext",
    "imagePullSecrets",
    "nodeSelector",
    "tolerations",
    "affinity",
    "priorityClassName",
)
_COPIED_CONTAINER_FIELDS = ("image", "imagePullPolicy", "resources", "securityContext")
_COPIED_VOLUMES = ("store", "trusted-keys")
_COPIED_LABELS = ("app.kubernetes.io/name", "app.kubernetes.io/instance", "app.kubernetes.io/part-of")


def list_job(template: dict[str, Any], release: str) -> dict[str, Any]:
    """A Job that prints `python -m pynumdraw.store list --json`.

    template: the serving Deployment's pod template; the Job copies its images, security contexts, node selectors and the like.
    Raises Refused for a template without a `fetch` container: there TensorFlow Serving polls the store itself.
    """
    spec = template["spec"]
    fetch = next((container for container in spec.get("initContainers", []) if container["name"] == "fetch"), None)
    if fetch is None:
        raise Refused("model.policy is latest: every pod moves by itself as soon as a version is published")
    container = {
        **{key: fetch[key] for key in _COPIED_CONTAINER_FIELDS if key in fetch},
        "name": "list",
        "command": ["python", "-m", "pynumdraw.store", "list", "--json"],
        "args": [argument for argument in fetch["args"] if argument.startswith(("--store=", "--name=", "--trusted-keys="))],
        "volumeMounts": [mount for mount in fetch["volumeMounts"] if mount["name"] in _COPIED_VOLUMES],
    }
    labels = {key: template["metadata"]["labels"][key] for key in _COPIED_LABELS} | {"app.kubernetes.io/component": "store-list"}
    pod = {
        **{key: spec[key] for key in _COPIED_POD_FIELDS if key in spec},
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [volume for volume in spec["volumes"] if volume["name"] in _COPIED_VOLUMES],
    }
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"generateName": f"{release[:40]}-store-list-", "labels": labels},
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": TIMEOUT_S,
            "ttlSecondsAfterFinished": TIMEOUT_S,
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
