"""The Dockerfiles: small, locked, without root or a shell, and with exactly what their programs need."""

import fnmatch
import re
import subprocess

import pytest
import yaml

from tests.chart import tools

IMAGES = ("gateway", "store", "trainer")
LABELS = {"title", "description", "version", "revision", "licenses"}


@pytest.fixture(params=IMAGES)
def instructions(request):
    """(instruction, rest) pairs of what an image is built from: its stage, and those that it begins or copies from."""
    stages = stages_of("trainer" if request.param == "trainer" else "gateway")
    wanted, found = [request.param if request.param in stages else list(stages)[-1]], []
    while wanted:
        found[:0] = stage = stages[wanted.pop()]
        wanted += [rest.removeprefix("${BASE} AS ").split()[0] for name, rest in stage if name == "FROM" and not rest.startswith("$")]
        wanted += sorted({rest.split()[0].removeprefix("--from=") for name, rest in stage if name == "COPY" and rest.startswith("--from=")})
    return [*stages[""], *found]


def stages_of(dockerfile):
    """The instructions of each stage by its name, continued lines joined; those before the first have the name ""."""
    text = re.sub(r"\\\n\s*", " ", (tools.ROOT / f"Dockerfile.{dockerfile}").read_text())
    stages, name = {"": []}, ""
    for line in text.splitlines():
        if line and not line.startswith("#"):
            instruction, rest = line.split(maxsplit=1)
            if instruction == "FROM":
                name = rest.partition(" AS ")[2] or "last"
                stages[name] = []
            stages[name].append((instruction, rest))
    return stages


def rests(instructions, name):
    return [rest for instruction, rest in instructions if instruction == name]


def test_all_stages_are_on_a_base_that_can_be_replaced(instructions):
    assert instructions[0] == ("ARG", "BASE=debian:trixie-slim")
    froms = rests(instructions, "FROM")
    named = {rest.partition(" AS ")[2] for rest in froms}
    assert len(froms) >= 2 and all(rest.partition(" AS ")[0] in {"${BASE}", *named} for rest in froms)


def test_the_gateways_image_is_the_one_without_a_target_and_has_nothing_that_verifies():
    stages = stages_of("gateway")
    assert list(stages)[-1] == "gateway"
    assert not any("store" in rest for _, rest in [*stages["gateway"], *stages["build-gateway"]])
    gateway, store = ((tools.ROOT / "requirements" / f"{name}.txt").read_text() for name in ("gateway", "store"))
    for package in ("model-signing", "pyopenssl", "sigstore", "cryptography"):
        assert f"{package}==" in store and f"{package}==" not in gateway


def test_no_list_of_requirements_names_an_index():
    for path in (tools.ROOT / "requirements").glob("*.txt"):
        assert "index-url" not in path.read_text(), path.name


def test_the_user_is_a_number_and_the_charts(instructions):
    values = yaml.safe_load((tools.CHART / "values.yaml").read_text())
    context = values["podSecurityContext"]
    assert rests(instructions, "USER") == [f"{context['runAsUser']}:{context['runAsGroup']}"]


def test_requirements_are_hashed_complete_and_before_the_code(instructions):
    (pip,) = [rest for rest in rests(instructions, "RUN") if "pip install" in rest]
    assert {"--require-hashes", "--no-deps", "--only-binary"} <= set(pip.split())
    order = [rest for instruction, rest in instructions if (instruction == "COPY" and "--from" not in rest) or "pip install" in rest]
    assert order[0].startswith("requirements/") and order[1] == pip and all("/app" in rest for rest in order[2:])


def test_pip_can_be_told_of_another_index(instructions):
    assert {"PIP_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_CERT"} <= set(rests(instructions, "ARG"))


def test_programs_start_without_a_shell_and_write_nothing_beside_themselves(instructions):
    assert rests(instructions, "ENTRYPOINT") == ['["python"]']
    assert all(rest.startswith("[") for rest in rests(instructions, "CMD"))
    assert any("PYTHONDONTWRITEBYTECODE=1" in rest for rest in rests(instructions, "ENV"))
    assert any("compileall" in rest for rest in rests(instructions, "RUN"))


def test_labels_tell_what_it_is_and_of_which_commit(instructions):
    (label,) = rests(instructions, "LABEL")
    assert set(re.findall(r"org\.opencontainers\.image\.(\w+)=", label)) == LABELS


def test_the_gateway_holds_no_tensorflow():
    assert "tensorflow" not in (tools.ROOT / "requirements" / "gateway.txt").read_text()


def test_the_build_sees_what_it_copies_and_little_else():
    allowed = [line[1:] for line in (tools.ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    copied = set()
    for image in ("gateway", "trainer"):
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", (tools.ROOT / f"Dockerfile.{image}").read_text(), re.MULTILINE):
            copied |= set(line.split())
    for source in copied:
        assert any(fnmatch.fnmatch(source, pattern) for pattern in allowed), source
    assert all(any(fnmatch.fnmatch(source, pattern) for source in copied) for pattern in allowed)


def test_the_build_checks_the_data_that_it_packs():
    text = (tools.ROOT / "Dockerfile.trainer").read_text()
    sums = (tools.ROOT / "data" / "SHA256SUMS").read_text()
    for name in re.findall(r"^\w+  (\S+)$", sums, re.MULTILINE):
        assert f"data/{name} " in text
    assert "sha256sum --check --strict" in text


def test_what_is_copied_is_in_the_repository_or_fetched_data():
    tracked = subprocess.run(["git", "ls-files"], cwd=tools.ROOT, capture_output=True, text=True, check=True).stdout.splitlines()
    for image in ("gateway", "trainer"):
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", (tools.ROOT / f"Dockerfile.{image}").read_text(), re.MULTILINE):
            for source in line.split():
                assert source.endswith("-ubyte") or any(path == source or path.startswith(f"{source}/") for path in tracked), source
