"""Every command that the documents and the notes give is one that works."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.chart import tools
from tests.chart.documents import command, commands

HERE = [each for each in commands() if each.where == ""]
IDS = [each.name for each in commands() if each.where == "cluster"]


@pytest.mark.parametrize("each", HERE, ids=lambda each: f"{each.document}: {each.text[:60]}")
def test_what_needs_no_cluster_works(each):
    path = f"{Path(tools.helm()).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        each.text, shell=True, cwd=tools.ROOT, env={**os.environ, "PATH": path}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_there_are_commands_of_each_sort():
    assert len(HERE) >= 3 and len(IDS) >= 8
    assert {each.where for each in commands()} == {"", "cluster", "elsewhere"}


def test_each_command_for_a_cluster_is_run_by_the_end_to_end_suite():
    suite = "".join(path.read_text() for path in (tools.ROOT / "tests" / "e2e").glob("*.py"))
    used = re.findall(r'documented\("([\w-]+)"', suite)
    assert set(used) == set(IDS) and len(IDS) == len(set(IDS))
    assert all(command(name) for name in IDS)


def test_every_flag_of_helm_in_documents_and_notes_exists():
    helps = {
        verb: subprocess.run([tools.helm(), verb, "--help"], capture_output=True, text=True, check=True).stdout
        for verb in ("install", "upgrade", "rollback")
    }
    text = "\n".join(each.text for each in commands()) + "\n" + notes()
    for line in text.splitlines():
        if match := re.search(r"\bhelm (?:-n \S+ )?(install|upgrade|rollback) (.*)", line):
            for flag in re.findall(r" (--[a-z-]+)", match[2]):
                assert f"{flag} " in helps[match[1]] or f"{flag}\n" in helps[match[1]], line


def notes(*arguments):
    done = subprocess.run(
        [tools.helm(), "install", "digits", str(tools.CHART), "--namespace", "drawing", "--dry-run=client", "--output", "json", *arguments],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["info"]["notes"]


@pytest.mark.parametrize(
    ("arguments", "line", "there"),
    [
        ((), "The page: http://<address of your ingress controller>/", True),
        (("--set", "ingress.hosts={a.example.com}", "--set", "ingress.path=/draw", "--set-json", 'ingress.tls=[{"secretName":"s"}]'),
         "The page: https://a.example.com/draw", True),
        (("--set", "ingress.enabled=false"), "The page:", False),
        ((), "kubectl -n drawing port-forward service/digits-pynumdraw-gateway 8080:80", True),
        ((), "kubectl -n drawing create job --from=cronjob/digits-pynumdraw-train digits-pynumdraw-next", True),
        (("--set", "trainer.enabled=false", "--set", "store.existingClaim=m"), "create job", False),
        ((), "helm -n drawing test digits", True),
        ((), "--reset-then-reuse-values --set model.version=2 --server-side=true --force-conflicts --wait", True),
        (("--set", "model.policy=latest"), "rollback", False),
        ((), "The models are stored on the claim digits-pynumdraw-models (ReadWriteOnce).", True),
        ((), "a drain of that node interrupts", True),
        (("--set", "store.accessMode=ReadWriteMany"), "a drain of that node interrupts", False),
        (("--set", "store.keep=false"), "It is kept when the release is uninstalled.", False),
    ],
)  # fmt: skip
def test_the_notes_say_what_holds(arguments, line, there):
    assert (line in notes(*arguments)) is there
