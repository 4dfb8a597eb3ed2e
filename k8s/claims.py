"""Why the claim of the model store is not bound, and what to set, from what the API server says about it."""

from collections.abc import Sequence

from kubernetes import client

_CHANGE = "A claim does not change: uninstall the release, delete the claim, and install again with the other value."


def unbound_reason(claim: client.V1PersistentVolumeClaim, classes: Sequence[str] | None, events: Sequence[str]) -> str | None:
    """A sentence with class, mode, cause and what to set; None for a claim that is bound.

    classes: names of the cluster's storage classes, None where they may not be listed. events: messages about the claim, newest last.
    """
    if claim.status.phase == "Bound":
        return None
    chosen, modes = claim.spec.storage_class_name, claim.spec.access_modes
    state = f"claim {claim.metadata.name} is {claim.status.phase}: storage class {chosen or 'none'}, {', '.join(modes)}"
    choice = f" to one of: {', '.join(classes)}" if classes else ""
    if not chosen:
        return f"{state}. The cluster has no default storage class. Set store.storageClass{choice}. {_CHANGE}"
    if classes is not None and chosen not in classes:
        return f"{state}. There is no such class. Set store.storageClass{choice}. {_CHANGE}"
    cause = f" ({events[-1]})" if events else ""
    if "ReadWriteOnce" in modes:
        advice = "It is bound with the first pod that mounts it; where the class makes no volume, set store.storageClass."
    else:
        advice = (
            f"Not every class can do {modes[0]}. Set store.accessMode=ReadWriteOnce, which keeps trainer and serving pods on one node, "
            "or store.storageClass to a class that can."
        )
    return f"{state}{cause}. {advice} {_CHANGE}"
