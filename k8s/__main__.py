"""`python -m k8s status|upgrade|rollback|render`: a release on the cluster that KUBECONFIG names.

Exit codes: 0 done; 1 the rollout stalled, or a file is stale; 2 refused, and nothing was changed; 130 interrupted.
"""

import argparse
import os
import sys
from pathlib import Path

from kubernetes import config

from k8s.cluster import Cluster
from k8s.errors import CommandError, Refused, StaleFile
from k8s.helm import CHART, Helm, find_helm
from k8s.rollout import rollback, upgrade
from k8s.status import status

MANIFESTS = Path(__file__).resolve().parent / "manifests.yaml"
_TIMEOUT_S = 300  # arbitrary; three serving pods take about a minute


def render(helm: Helm, release: str, chart: Path, check: bool) -> None:
    """Write the chart's plain manifests; with `check` write nothing, and raise StaleFile where they differ from the file."""
    fresh = f"# Made of the chart by `python -m k8s render`; for `kubectl apply`.\n{helm.render(release, chart)}"
    if MANIFESTS.exists() and MANIFESTS.read_text() == fresh:
        return
    if check:
        raise StaleFile(f"{MANIFESTS.name} is stale: python -m k8s render")
    MANIFESTS.write_text(fresh)


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
    waiting = argparse.ArgumentParser(add_help=False)
    waiting.add_argument(
        "--timeout", type=float, default=_TIMEOUT_S, metavar="SECONDS", help=f"how long to wait for the pods (default {_TIMEOUT_S})"
    )
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("status", help="what runs, what answers, and why not")
    command = commands.add_parser("upgrade", parents=[waiting], help="serve another version of the model")
    command.add_argument("version", type=int)
    command = commands.add_parser("rollback", parents=[waiting], help="return to a revision of the release")
    command.add_argument("revision", type=int, nargs="?", help="default: the one before")
    command = commands.add_parser("render", help=f"write k8s/{MANIFESTS.name}")
    command.add_argument("--check", action="store_true", help="write nothing; exit code 1 where the file is stale")
    return parser


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    args = _parser().parse_args(argv)
    try:
        if args.command == "render":
            render(Helm(find_helm(os.environ), "pynumdraw"), args.release, args.chart, args.check)
            return 0
        cluster = _connect(os.environ.get("KUBECONFIG"), args.namespace, args.release)
        helm = Helm(find_helm(os.environ), cluster.namespace)
        match args.command:
            case "status":
                status(cluster, helm)
            case "upgrade":
                upgrade(cluster, helm, args.version, args.chart, args.timeout)
            case "rollback":
                rollback(cluster, helm, args.revision, args.timeout)
    except CommandError as exc:
        print(exc, file=sys.stderr)
        return exc.exit_code
    except KeyboardInterrupt:
        print("interrupted; the cluster goes on: python -m k8s status", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
