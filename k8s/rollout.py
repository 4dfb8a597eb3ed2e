"""Rollouts: move a release to another version of the model, or back to an earlier revision, and follow its pods until it is done.

The chart says how pods are replaced (templates/serving-deployment.yaml) and helm changes the release; this checks before that and
watches after it.
"""

import time
from collections.abc import Sequence
from pathlib import Path

from k8s.cluster import Cluster, RolloutStatus
from k8s.errors import Refused, RolloutStalled
from k8s.helm import Helm

_COMPONENTS = ("gateway", "serving")
_POLL_S = 1  # arbitrary


def upgrade(cluster: Cluster, helm: Helm, version: int, chart: Path, timeout_s: float) -> None:
    """Move the release to a version that the store holds, and wait until every pod serves it.

    Raises Refused for a version that is missing or corrupt, and for a field that Argo CD or the like holds; RolloutStalled where the new
    pods fail or need longer than `timeout_s`.
    """
    current = helm.history(cluster.release)[-1]
    model = helm.values(cluster.release)["model"]
    rows = {row["version"]: row for row in cluster.store() if row["version"]}  # what is no version of the store has none
    if version not in rows:
        raise Refused(f"version {version} is not in the store; there are: {', '.join(map(str, rows)) or 'none'}")
    if rows[version]["state"] != "valid":
        raise Refused(f"version {version} cannot be served: {rows[version]['reason']}")
    print(f"version {model['version']} → {version}; chart {current['chart']} → {helm.chart_name(chart)}", flush=True)
    command = ("upgrade", cluster.release, str(chart), "--reset-then-reuse-values", "--set", f"model.version={version}")
    helm.run(*command, *_take_over(cluster, helm, command))
    follow(cluster, timeout_s)
    print(f"version {version} is served. To return: python -m k8s rollback")


def rollback(cluster: Cluster, helm: Helm, revision: int | None, timeout_s: float) -> None:
    """Return the release to a revision (None: the one before), and wait until every pod is of that revision.

    Raises Refused for a revision that the history does not have, RolloutStalled as `upgrade` does.
    """
    history = [int(row["revision"]) for row in helm.history(cluster.release)]
    if revision is None:
        revision = history[-1] - 1
    if revision not in history:
        raise Refused(f"release {cluster.release} has no revision {revision}; there are: {', '.join(map(str, history))}")
    version = helm.values(cluster.release, revision)["model"]["version"]
    print(f"back to revision {revision}: version {version}", flush=True)
    flags = _take_over(cluster, helm, ("get", "manifest", cluster.release, "--revision", str(revision)))
    helm.run("rollback", cluster.release, str(revision), *flags)
    follow(cluster, timeout_s)
    print(f"version {version} is served")


def _take_over(cluster: Cluster, helm: Helm, command: Sequence[str]) -> list[str]:
    """Flags with which helm can apply what `command` gives, though others hold some of its fields; prints which.

    What somebody set by hand or an autoscaler set is taken over. Raises Refused where another program applies manifests of its own: it
    would set the field again.
    """
    if not helm.applies_server_side(cluster.release):
        return []  # client-side, helm overwrites what others set
    found = cluster.conflicts(helm.manifests(*command), helm.field_manager)
    if appliers := [conflict for conflict in found if conflict.applied]:
        raise Refused(
            "; ".join(map(str, appliers)) + ". That manager applies manifests of its own and would set it again: change the version where "
            "its manifests come from, or end it and let helm take the field: helm upgrade … --server-side=true --force-conflicts"
        )
    for conflict in found:
        print(f"taken over: {conflict}", flush=True)
    return ["--force-conflicts"] if found else []


def follow(cluster: Cluster, timeout_s: float) -> None:
    """Wait until all gateway and serving pods are new and ready, printing progress. Raises RolloutStalled with the reasons of the pods."""
    start, printed = time.monotonic(), ""
    while True:
        rollouts = {component: cluster.rollout(component) for component in _COMPONENTS}
        if all(rollout.complete for rollout in rollouts.values()):
            return
        templates = {rollout.template for rollout in rollouts.values()}
        new_pods = [pod for component in _COMPONENTS for pod in cluster.pods(component) if pod.template in templates]
        if (progress := _progress(rollouts)) != printed:
            print(f"{time.monotonic() - start:5.0f} s  {progress}", flush=True)
            printed = progress
        failed = any(pod.failed for pod in new_pods)
        if failed or time.monotonic() - start > timeout_s:
            cause = "a new pod fails" if failed else f"not done after {timeout_s:.0f} s"
            reasons = "; ".join(dict.fromkeys(pod.reason for pod in new_pods if pod.reason))
            raise RolloutStalled(
                f"stalled: {cause}" + (f": {reasons}" if reasons else "") + "\n"
                "The pods that served before go on serving. Look: python -m k8s status. Go back: python -m k8s rollback"
            )
        time.sleep(_POLL_S)


def _progress(rollouts: dict[str, RolloutStatus]) -> str:
    return ", ".join(f"{name} {rollout.updated} of {rollout.wanted} new, {rollout.ready} ready" for name, rollout in rollouts.items())
