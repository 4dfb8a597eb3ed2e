"""The status of a release as text: its pods, what answers, and why a rollout is not complete."""

from collections.abc import Sequence

from k8s.cluster import Cluster, GatewayAnswers, RolloutStatus
from k8s.helm import Helm
from k8s.pods import Pod


def status(cluster: Cluster, helm: Helm) -> None:
    """Print pod × version × state, what the gateways answer, and the reasons of the pods that are not ready."""
    newest = helm.history(cluster.release)[-1]
    model = helm.values(cluster.release)["model"]
    wanted = f"version {model['version']}" if model["policy"] == "version" else "the latest version"
    print(f"release {cluster.release} in {cluster.namespace}: revision {newest['revision']} ({newest['status']}), chart {newest['chart']}")
    print(f"model {model['name']}: {wanted} is wanted\n")
    pods = {component: cluster.pods(component) for component in ("trainer", "serving", "gateway")}
    everyone = [pod for rows in pods.values() for pod in rows]
    _print_table(
        [("pod", "node", "version", "state", "restarts")]
        + [(pod.name, pod.node, pod.version, pod.state, str(pod.restarts)) for pod in everyone]
    )
    _print_answers(cluster.answers())
    if unbound := cluster.claim_reason():
        print(f"\n{unbound}")
    for line in dict.fromkeys(f"{pod.state}: {pod.reason}" for pod in everyone if pod.reason):
        print(f"\n{line}")
    _print_rollout(cluster.rollout("serving"), pods["serving"])


def _print_answers(answers: GatewayAnswers) -> None:
    if answers.servers:
        columns = ("address", "version", "state", "error")
        print("\nWhat the gateways see:")
        _print_table([columns, *[tuple(str(row[column] or "") for column in columns) for row in answers.servers]])
    counts = ", ".join(f"version {version}: {count}" for version, count in sorted(answers.by_version.items()))
    print(f"\nAnswers of the last minute: {counts or 'nothing yet'}")
    for name in answers.unreachable:
        print(f"{name} could not be asked; does networkPolicy.gatewayFrom let the cluster's API server in?")


def _print_rollout(rollout: RolloutStatus, serving: Sequence[Pod]) -> None:
    if rollout.complete:
        print("\nThe rollout is complete.")
        return
    new = min(rollout.updated, rollout.wanted)
    print(f"\nThe rollout is not complete: {rollout.ready} of {rollout.wanted} serving pods are ready, {new} are new.")
    if any(pod.failed and pod.template == rollout.template for pod in serving):
        print("It is stuck. The pods that serve go on. To return to the version before: python -m k8s rollback")


def _print_table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
