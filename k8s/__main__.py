"""`python -m k8s status|upgrade|rollback|render`: a release on the cluster that KUBECONFIG names.

Exit codes: 0 done, 1 stalled (changed, and does not get there), 2 refused (nothing was changed).
"""

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from kubernetes import config

from k8s.cluster import Cluster
from k8s.errors import Refused, Stalled
from k8s.helm import CHART, Helm, find_helm

MANIFESTS = Path(__file__).resolve().parent / "manifests.yaml"


def status(cluster: Cluster, helm: Helm) -> None:
    """Print pod × version × state, what the gateways answer with, and for a roll that is stuck the reason."""
    newest = helm.history(cluster.release)[-1]
    model = helm.values(cluster.release)["model"]
    wanted = f"version {model['version']}" if model["policy"] == "version" else "the latest version"
    print(f"release {cluster.release} in {cluster.namespace}: revision {newest['revision']} ({newest['status']}), chart {newest['chart']}")
    print(f"model {model['name']}: {wanted} is wanted\n")
    pods = {component: cluster.pods(component) for component in ("trainer", "serving", "gateway")}
    shown = [("pod", "node", "version", "state", "restarts")]
    shown += [(pod.name, pod.node, pod.version, pod.state, str(pod.restarts)) for rows in pods.values() for pod in rows]
    _table(shown)
    counts, reported, silent = cluster.answers()
    if reported:
        print("\nWhat the gateways see:")
        _table(
            [
                ("address", "version", "state", "error"),
                *[tuple(str(row[key] or "") for key in ("address", "version", "state", "error")) for row in reported],
            ]
        )
    said = ", ".join(f"version {version}: {count}" for version, count in sorted(counts.items())) or "nothing yet"
    print(f"\nAnswers of the last minute: {said}")
    for name in silent:
        print(f"{name} could not be asked; is the cluster's API server kept out by networkPolicy.gatewayFrom?")
    roll = cluster.roll("serving")
    for line in dict.fromkeys(f"{pod.state}: {pod.reason}" for pod in pods["trainer"] + pods["serving"] + pods["gateway"] if pod.reason):
        print(f"\n{line}")
    if roll.complete:
        print("\nThe roll is complete.")
    else:
        print(
            f"\nThe roll is not complete: {roll.ready} of {roll.wanted} serving pods are ready, {min(roll.updated, roll.wanted)} are new."
        )
        if any(pod.failed and pod.template == roll.template for pod in pods["serving"]):
            print("It is stuck. The pods that serve go on. To return to the version before: python -m k8s rollback")


def upgrade(cluster: Cluster, helm: Helm, version: int, chart: Path, timeout_s: float) -> None:
    """Move the release to a version that the store holds, and wait until every pod serves it."""
    before = helm.history(cluster.release)[-1]
    model = helm.values(cluster.release)["model"]
    held = {row["version"]: row for row in cluster.store()}
    if version not in held:
        raise Refused(f"version {version} is not in the store; there are: {', '.join(map(str, held)) or 'none'}")
    if held[version]["state"] != "valid":
        raise Refused(f"version {version} cannot be served: {held[version]['reason']}")
    print(f"version {model['version']} → {version}; chart {before['chart']} → {helm.chart_name(chart)}", flush=True)
    helm.run("upgrade", cluster.release, str(chart), "--reset-then-reuse-values", "--set", f"model.version={version}")
    follow(cluster, timeout_s)
    print(f"version {version} is served. To return: python -m k8s rollback")


def rollback(cluster: Cluster, helm: Helm, revision: int | None, timeout_s: float) -> None:
    """Return the release to a revision (by default the one before), and wait until every pod is that again."""
    history = [int(row["revision"]) for row in helm.history(cluster.release)]
    if revision is None:
        revision = history[-1] - 1
    if revision not in history:
        raise Refused(f"release {cluster.release} has no revision {revision}; there are: {', '.join(map(str, history))}")
    version = helm.values(cluster.release, revision)["model"]["version"]
    print(f"back to revision {revision}: version {version}", flush=True)
    helm.run("rollback", cluster.release, str(revision))
    follow(cluster, timeout_s)
    print(f"version {version} is served")


def follow(cluster: Cluster, timeout_s: float) -> None:
    """Wait until the gateway's and the serving pods are those that are wanted. Raises Stalled with the reason in words."""
    begin, said = time.monotonic(), ""
    while True:
        rolls = [cluster.roll("gateway"), cluster.roll("serving")]
        if all(roll.complete for roll in rolls):
            return
        pods = [pod for pod in cluster.pods("gateway") + cluster.pods("serving") if pod.template in {roll.template for roll in rolls}]
        reasons = "; ".join(dict.fromkeys(pod.reason for pod in pods if pod.reason))
        now = ", ".join(
            f"{name} {roll.updated} of {roll.wanted} new, {roll.ready} ready"
            for name, roll in zip(("gateway", "serving"), rolls, strict=True)
        )
        if now != said:
            print(f"{time.monotonic() - begin:5.0f} s  {now}", flush=True)
            said = now
        failed = any(pod.failed for pod in pods)
        if failed or time.monotonic() - begin > timeout_s:
            what = "a new pod fails" if failed else f"not done after {timeout_s:.0f} s"
            raise Stalled(
                f"stalled: {what}" + (f": {reasons}" if reasons else "") + "\n"
                "The pods that served before go on serving. Look: python -m k8s status. Go back: python -m k8s rollback"
            )
        time.sleep(1)


def render(helm: Helm, release: str, chart: Path, check: bool) -> None:
    """Write the chart's plain manifests, or only compare."""
    fresh = f"# Made of the chart by `python -m k8s render`; for `kubectl apply`.\n{helm.render(release, chart)}"
    if MANIFESTS.exists() and MANIFESTS.read_text() == fresh:
        return
    if check:
        raise Stalled(f"{MANIFESTS.name} is stale: python -m k8s render")
    MANIFESTS.write_text(fresh)


def _table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _connect(kubeconfig: str | None, namespace: str | None, release: str) -> Cluster:
    """The cluster of the kubeconfig's current context, and its namespace unless another is named."""
    try:
        _, context = config.list_kube_config_contexts(kubeconfig)
        api = config.new_client_from_config(kubeconfig)
    except config.ConfigException as exc:
        raise Refused(f"no cluster: {exc}; KUBECONFIG names the file") from exc
    return Cluster(api, namespace or context["context"].get("namespace") or "default", release)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m k8s", description="A release of pynumdraw on the cluster that KUBECONFIG names.")
    parser.add_argument("--namespace", help="default: the kubeconfig's")
    parser.add_argument("--release", default="pynumdraw", help="default: pynumdraw")
    parser.add_argument("--chart", type=Path, default=CHART, help="default: the one beside this program")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="what runs, what answers, and why not")
    command = commands.add_parser("upgrade", help="serve another version of the model")
    command.add_argument("version", type=int)
    command.add_argument("--timeout", type=float, default=300, metavar="SECONDS", help="how long to wait for the pods (default 300)")
    command = commands.add_parser("rollback", help="return to a revision of the release")
    command.add_argument("revision", type=int, nargs="?", help="default: the one before")
    command.add_argument("--timeout", type=float, default=300, metavar="SECONDS", help="how long to wait for the pods (default 300)")
    command = commands.add_parser("render", help=f"write k8s/{MANIFESTS.name}")
    command.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the file is stale")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    asked = _parser().parse_args(argv)
    try:
        if asked.command == "render":
            render(Helm(find_helm(os.environ), "pynumdraw"), asked.release, asked.chart, asked.check)
            return 0
        cluster = _connect(os.environ.get("KUBECONFIG"), asked.namespace, asked.release)
        helm = Helm(find_helm(os.environ), cluster.namespace)
        match asked.command:
            case "status":
                status(cluster, helm)
            case "upgrade":
                upgrade(cluster, helm, asked.version, asked.chart, asked.timeout)
            case "rollback":
                rollback(cluster, helm, asked.revision, asked.timeout)
    except Refused as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        print("interrupted; the cluster goes on: python -m k8s status", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
