"""The life of a release on a real cluster, step by step, with users drawing through the Ingress all the while. Run it in order, with -x."""

import json
import re
import shutil
import subprocess
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import pytest
import yaml
from playwright.sync_api import expect

from tests.browser.pen import SEVEN, draw, open_page
from tests.chart.tools import CHART
from tests.e2e.conftest import FOLDER, plain_drawings
from tests.e2e.load import Load, tally
from tests.e2e.release import NAME, PATH, SIGNING, Release, fetch
from tests.stack import ROOT, free_port, wait_until

HERE = Path(__file__).parent
BLANK = json.dumps({"width": 100, "height": 100, "strokes": []}).encode()
INSTALL_S, UPGRADE_S, READY_S = 240, 120, 3  # the aims on two free cores; the table compares, since a busy machine is late
SETTLE_S = 20  # a connection's age, a look-up, and some
UNTRUSTED = {  # kind of a version that loads well and that nobody may serve → why not
    "forbidden": "operation WriteFile ('thief') in function 'loot' is not among those that a version may use",
    "tampered": "it was changed after key.pub signed it: assets.extra/tf_serving_warmup_requests, manifest.json",
    "unsigned": "it is not signed",
    "stranger": ", which is not trusted; trusted are key.pub",
    "renamed": "is corrupt: its manifest.json says version 1, ",
}
bad_versions: dict[str, int] = {}  # kind → number, of those that must never serve

pytestmark = pytest.mark.timeout(2000)


@pytest.fixture
def under_load(load):
    """At least 30 requests a second for as long as the step takes."""
    assert load.running, "nobody is drawing"
    begin = time.monotonic()
    yield load
    seconds = time.monotonic() - begin
    sent = tally(load.outcomes, begin, time.monotonic()).sent
    assert sent >= 30 * seconds - 30, f"{sent} requests in {seconds:.0f} s are fewer than 30 a second"


@pytest.fixture(scope="session")
def chart_before(release, tmp_path_factory):
    """What `release_before` returns, as a future: its images are built from now on, beside the steps."""
    with ThreadPoolExecutor(1) as pool:
        yield pool.submit(release_before, release, tmp_path_factory.mktemp("before"))


def settled(load, version):
    """Wait until only that version has answered for a while, and nothing else may any more."""

    def alone():
        recent = tally(load.outcomes, time.monotonic() - 5, time.monotonic())
        return set(recent.versions) == {version} and recent.sent > 100

    wait_until(f"version {version} alone answers", alone, 60)
    load.versions = {version}


def pod_reason(release, version):
    """What the new pods of a version that does not get ready say: termination messages, or the last line of the log."""
    found = []
    for pod in release.pods("serving", ready=False):
        if pod["metadata"]["labels"]["pynumdraw/model-version"] != str(version):
            continue
        for status in pod["status"].get("initContainerStatuses", []) + pod["status"].get("containerStatuses", []):
            ended = [status.get(state, {}).get("terminated", {}) for state in ("state", "lastState")]
            found += [each["message"] for each in ended if "message" in each]
            if status["name"] == "fetch" and "running" in status.get("state", {}):
                found.append(release.kubectl("logs", pod["metadata"]["name"], "--container", "fetch", "--tail", "1", check=False))
    return " ".join(found)


def failed_upgrade(release, version, sentence):
    """Upgrade to a version that cannot be served: the rollout stalls, the sentence is shown, and the old pods go on serving."""
    before = {pod["metadata"]["name"] for pod in release.pods("serving")}
    command = release.documented(
        "helm-upgrade", ("model.version=2", f"model.version={version}"), (" --wait --timeout 5m --rollback-on-failure", "")
    )
    release.run(command)
    wait_until(f"a pod says {sentence!r}", lambda: sentence in pod_reason(release, version), 90)
    wait_until(f"status says {sentence!r}", lambda: sentence in release.run(release.documented("status")).stdout, 60)
    assert before <= {pod["metadata"]["name"] for pod in release.pods("serving")}, "a pod that served was taken away"


def test_install_trains_a_first_version_and_returns_when_the_page_answers(release, load, report, new_page):
    begin = time.monotonic()
    command = release.with_values(release.documented("install"))
    install = subprocess.Popen(
        ["bash", "-c", command], cwd=ROOT, env=release.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    try:
        wait_until("the page loads while there is no model", lambda: release.ask()[0] == 200, 60)
        new_page.goto(f"http://{release.host}{PATH}/")
        draw(new_page, SEVEN)
        expect(new_page.locator("#reading")).to_contain_text("trained", timeout=15_000)
        status, body = release.ask(
            "/api/v1/predict", json.dumps({"width": 280, "height": 280, "strokes": [[[60, 60], [200, 60], [120, 240]]]}).encode()
        )
        assert status == 503 and json.loads(body)["error"]["code"], body
        assert release.ask("/api/v1/predict", BLANK)[0] == 200, "a blank drawing needs no model"
        new_page.goto("about:blank")  # a page that waits takes a tenth of a core from the training
        out, _ = install.communicate(timeout=1800)
    finally:
        install.kill()
        install.wait()
    assert install.returncode == 0, out
    open_page(new_page, f"http://{release.host}{PATH}/")
    draw(new_page, SEVEN)
    expect(new_page.locator("#big")).to_have_text("7")
    seconds = time.monotonic() - begin
    report.timed("first drawn answer", seconds, INSTALL_S)
    load.versions = {1}
    load.start()


def test_a_gateway_is_ready_soon_after_its_container_starts(release, report):
    took = []
    for pod in release.pods("gateway"):
        started = pod["status"]["containerStatuses"][0]["state"]["running"]["startedAt"]
        ready = next(each["lastTransitionTime"] for each in pod["status"]["conditions"] if each["type"] == "Ready")
        took.append((datetime.fromisoformat(ready) - datetime.fromisoformat(started)).total_seconds())
    report.timed("slowest", max(took), READY_S)


def test_a_seven_that_is_drawn_in_chromium_through_the_ingress_reads_seven(new_page, release):
    open_page(new_page, f"http://{release.host}{PATH}/")
    draw(new_page, SEVEN)
    expect(new_page.locator("#big")).to_have_text("7")
    expect(new_page.locator("#facts")).to_contain_text("version 1,")


def test_helm_test_draws_a_seven_through_the_service(release):
    assert "Succeeded" in release.run(release.documented("test")).stdout


def test_the_commands_of_the_notes_work(release):
    notes = release.run(f"helm get notes {NAME}").stdout
    assert f"http://{release.host}{PATH}" in notes
    found = [line.strip() for line in notes.splitlines() if line.startswith("    ")]
    verbs = [re.search(r"(port-forward|logs|create job|test|upgrade|rollback|get)", line)[1] for line in found]
    assert verbs == ["port-forward", "logs", "create job", "test", "upgrade", "rollback", "get"], notes
    assert "Bound" in release.run(found[6]).stdout
    port = free_port()
    command = f"exec {found[0]}".replace("8080:", f"{port}:")
    with subprocess.Popen(["bash", "-c", command], env=release.environ, stdout=subprocess.DEVNULL) as forward:
        try:
            wait_until("the forwarded page", lambda: fetch(f"http://127.0.0.1:{port}/")[0] == 200, 20)
        finally:
            forward.terminate()
    assert "digits" in release.run(found[1].replace(" -f", ""), timeout_s=60).stdout
    assert "Succeeded" in release.run(found[3]).stdout
    assert found[2].replace(f" -n {release.namespace}", "") == release.documented("train")
    release.upgrade("--set trainer.recipe=tiny")  # the install has tried the default one; a next version is wanted, not a better one
    release.run(found[2])  # trains version 2, which later steps serve


def test_a_foreign_pod_reaches_the_page_and_nothing_else(release, under_load):
    serving = [pod["status"]["podIP"] for pod in release.pods("serving")]
    gateway = [pod["status"]["podIP"] for pod in release.pods("gateway")]
    closed = [f"{ip}:{port}" for ip in serving for port in (8500, 8501)] + [f"{ip}:9090" for ip in gateway]
    opened = [f"{ip}:8080" for ip in gateway]
    image = release.images["gateway"]
    found = json.loads(release.run_pod("foreign", image, closed + opened, HERE / "reachable_ports.py"))
    assert {address for address, result in found.items() if result == "open"} == set(opened)
    labels = {"app.kubernetes.io/name": NAME, "app.kubernetes.io/instance": NAME, "app.kubernetes.io/component": "gateway"}
    addresses = [f"{ip}:8500" for ip in serving]
    found = json.loads(release.run_pod("like-a-gateway", image, addresses, HERE / "reachable_ports.py", labels=labels))
    release.kubectl("delete", "pod", "like-a-gateway", "foreign", "--wait")
    assert set(found.values()) == {"open"}, "a pod that may connect cannot either, so this test shows nothing"


def test_a_version_that_is_not_in_the_store_is_refused(release, under_load):
    done = release.run(release.documented("upgrade", ("upgrade 2", "upgrade 99")), check=False)
    assert done.returncode == 2 and "version 99 is not in the store" in done.stderr
    failed_upgrade(release, 99, "waiting for version 99 in /store/digits")
    release.run(release.documented("helm-rollback"))


def test_serving_pods_and_gateway_pods_may_be_killed(release, under_load):
    for component, how in (("serving", ("--grace-period=0", "--force")), ("gateway", ())):
        wanted = len(release.pods(component))
        victim = release.pods(component)[0]["metadata"]["name"]
        release.kubectl("delete", "pod", victim, *how)
        wait_until(
            f"{component} pods are {wanted} again",
            lambda c=component, v=victim, n=wanted: len(names := [p["metadata"]["name"] for p in release.pods(c)]) >= n and v not in names,
            120,
        )


def test_three_servers_share_the_requests_evenly(release, under_load):
    for replicas in (1, 3):
        release.upgrade(f"--set serving.replicas={replicas}")
        wait_until(f"{replicas} serving pods", lambda n=replicas: len(release.pods("serving")) == n, 60)
    time.sleep(SETTLE_S)  # the shares of what comes from now on are measured
    before = release.requests_served()
    time.sleep(20)
    after = release.requests_served()
    shares = [after[name] - before[name] for name in before]
    even = sum(shares) / 3
    assert len(shares) == 3 and even > 100
    assert all(abs(share - even) <= even / 3 for share in shares), shares


def test_an_upgrade_takes_back_what_was_scaled_and_set_by_hand(release, under_load):
    upgrades = (
        release.documented("upgrade", ("upgrade 2", "upgrade 1")),
        release.documented("helm-upgrade", ("model.version=2", "model.version=1")),
    )
    release.upgrade("--set serving.replicas=3")
    for command in upgrades:
        release.kubectl("scale", "deployment/pynumdraw-serving", "--replicas=4")
        release.kubectl("set", "env", "deployment/pynumdraw-gateway", "GATEWAY_DNS_REFRESH_S=4")
        wait_until("four serving pods", lambda: len(release.pods("serving")) == 4, 120)
        said = release.run(command).stdout
        if "-m k8s" in command:
            assert ".spec.replicas is held by kubectl (scale); it is 4, this sets 3" in said
            assert "value is held by kubectl-set; it is 4, this sets 5" in said
        wait_until("three serving pods", lambda: len(release.pods("serving")) == 3, 60)


@contextmanager
def fewest_pods(release):
    """The least number of serving pods that the Deployment was to have meanwhile, as the only item of a list."""
    words = ("get", "deployment", "pynumdraw-serving", "--output", "jsonpath={.spec.replicas}")
    fewest, done = [int(release.kubectl(*words))], threading.Event()

    def watch():
        while not done.wait(0.5):
            fewest[0] = min(fewest[0], int(release.kubectl(*words)))

    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(watch)
        try:
            yield fewest
        finally:
            done.set()
            watching.result()


def test_an_autoscaler_is_switched_on_and_off_from_four_pods(release, under_load):
    if not release.kubectl("get", "--raw", "/apis/metrics.k8s.io/v1beta1", check=False):
        pytest.skip("the cluster has no metrics API, so no autoscaler can react")
    release.upgrade("--set serving.replicas=4")
    with fewest_pods(release) as fewest:
        release.upgrade("--set serving.autoscaling.enabled=true,serving.autoscaling.maxReplicas=5,serving.autoscaling.targetCpuPercent=1")
        wait_until("five serving pods", lambda: len(release.pods("serving")) == 5, 180)
        release.run(release.documented("upgrade", ("upgrade 2", "upgrade 1")))
    assert fewest == [4] and len(release.pods("serving")) == 5
    release.upgrade("--set serving.autoscaling.enabled=false,serving.replicas=3")
    wait_until("three serving pods", lambda: len(release.pods("serving")) == 3, 60)


def test_the_next_version_is_trained_beside_the_one_that_serves(release, under_load):
    release.run(release.documented("wait-train"), timeout_s=1900)
    assert "published /store/digits/2" in release.kubectl("logs", "job/pynumdraw-next")


def test_an_upgrade_moves_every_user_to_the_new_version(release, under_load, report):
    under_load.versions = {1, 2}
    begin = time.monotonic()
    done = release.run(release.documented("upgrade"))
    seconds = time.monotonic() - begin
    assert "version 2 is served" in done.stdout
    settled(under_load, 2)
    status = release.run(release.documented("status")).stdout
    assert "The rollout is complete." in status and "version 2 is wanted" in status
    assert set(tally(under_load.outcomes, begin, time.monotonic()).versions) == {1, 2}
    report.timed("3 pods", seconds, UPGRADE_S)
    assert "Succeeded" in release.run(release.documented("test")).stdout


def test_a_rollback_moves_every_user_back(release, under_load):
    under_load.versions = {1, 2}
    assert "version 1 is served" in release.run(release.documented("rollback")).stdout
    settled(under_load, 1)


def test_versions_that_cannot_be_served_are_put_into_the_store(release, under_load, chart_before):
    log = release.run_pod(
        "corrupt-version",
        release.images["trainer"],
        ["/store", "digits", "/secret/key.pem"],
        HERE / "corrupt_version.py",
        claim=f"{NAME}-models",
        secret=SIGNING,
    )
    bad_versions.update(json.loads(log))
    assert set(bad_versions) == {"bad_warmup", "corrupt", "unloadable", *UNTRUSTED}


def test_a_corrupt_version_never_serves(release, under_load):
    version = bad_versions["corrupt"]
    done = release.run(release.documented("upgrade", ("upgrade 2", f"upgrade {version}")), check=False)
    assert done.returncode == 2 and "is corrupt" in done.stderr
    failed_upgrade(release, version, f"/store/digits/{version} is corrupt: assets.extra/tf_serving_warmup_requests has")
    release.run(release.documented("rollback"))


def test_an_unloadable_version_never_serves(release, under_load):
    version = bad_versions["unloadable"]
    done = release.run(release.documented("upgrade", ("upgrade 2", f"upgrade {version}")), check=False)
    assert done.returncode == 1 and "stalled" in done.stderr and "Failed to start server" in done.stderr
    assert "Failed to start server" in pod_reason(release, version)
    assert "It is stuck." in release.run(release.documented("status")).stdout
    release.run(release.documented("rollback"))


def test_a_version_that_fails_its_warm_up_never_serves_and_helm_goes_back_by_itself(release, under_load):
    version = bad_versions["bad_warmup"]
    command = release.documented("helm-upgrade", ("model.version=2", f"model.version={version}"), ("--timeout 5m", "--timeout 45s"))
    with subprocess.Popen(
        ["bash", "-c", command], cwd=ROOT, env=release.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as helm:
        try:
            wait_until("a pod says why", lambda: "Failed to start server" in pod_reason(release, version), 60)
            out, _ = helm.communicate(timeout=180)
        finally:
            helm.kill()
    assert helm.returncode != 0 and "roll" in out, out
    assert json.loads(release.run(f"helm get values {NAME} --all --output json").stdout)["model"]["version"] == 1
    wait_until("only version 1 is left", lambda: len(release.pods("serving", ready=False)) == 3, 60)


@pytest.mark.parametrize(("kind", "reason"), UNTRUSTED.items(), ids=UNTRUSTED.keys())
def test_a_version_that_nobody_vouches_for_never_serves(release, under_load, kind, reason):
    version = bad_versions[kind]
    done = release.run(release.documented("upgrade", ("upgrade 2", f"upgrade {version}")), check=False)
    assert done.returncode == 2 and f"version {version} cannot be served: " in done.stderr and reason in done.stderr
    failed_upgrade(release, version, reason)
    release.run(release.documented("rollback"))


def test_a_node_may_be_drained(release, under_load, report):
    nodes = release.nodes()
    where = {pod["spec"]["nodeName"] for component in ("serving", "gateway") for pod in release.pods(component)}
    if len(nodes) < 2 or len(where) < 2:
        pytest.skip(f"pods may run on {', '.join(nodes)} and do on {', '.join(where)}: there is no node to spare")
    node = max(where)
    try:
        chosen = f"--pod-selector=app.kubernetes.io/instance={NAME}"
        release.kubectl("drain", node, "--ignore-daemonsets", "--delete-emptydir-data", chosen, "--timeout=240s")
        assert node not in {pod["spec"]["nodeName"] for component in ("serving", "gateway") for pod in release.pods(component)}
    finally:
        release.kubectl("uncordon", node)
    wait_until("all serve again", lambda: (len(release.pods("serving")), len(release.pods("gateway"))) == (3, 2), 90)
    report.remarks.append(node)


def test_without_a_flag_it_installs_on_storage_that_only_one_node_can_mount(release, under_load, report):
    """Beside the other: pods that share a node and still roll without losing a request, and a claim whose mode no upgrade changes."""
    other = Release(release.site, FOLDER / "one-node", trainer={"recipe": "tiny"})
    load = Load(other.site.ingress_url, other.host, PATH, plain_drawings(), rate=5)
    begin = time.monotonic()
    with release.default_storage_class("one-node"):
        try:
            other.start(signing=False)
            other.run(f"helm install {NAME} {CHART} --values=$VALUES --wait --timeout 15m", timeout_s=1000)
            report.remarks.append(f"installed in {time.monotonic() - begin:.0f} s")
            (claim,) = other.get("persistentvolumeclaims")
            assert claim["spec"]["accessModes"] == ["ReadWriteOnce"] and other.get("poddisruptionbudgets", f"{NAME}-gateway")
            assert "Succeeded" in other.run(other.documented("test")).stdout
            load.versions = {1}
            load.start()
            other.upgrade("--set serving.podAnnotations.rolled=again --timeout 5m")
            time.sleep(SETTLE_S)
            load.stop()
            assert len({pod["spec"]["nodeName"] for pod in other.pods("serving")}) == 1
            done = other.run(f"helm upgrade {NAME} {CHART} --reuse-values --set store.accessMode=ReadWriteMany", check=False)
            assert done.returncode and "Set store.accessMode=ReadWriteOnce to go on with it" in done.stderr
        except BaseException:
            other.explain(other.folder)
            raise
        finally:
            load.stop()
            other.end()
    found = tally(load.outcomes, begin, time.monotonic())
    assert found.sent > 100 and found.failed == 0, [outcome.failed for outcome in load.outcomes if outcome.failed]


def test_the_models_outlive_the_release_and_the_chart_is_upgraded_from_the_release_before(release, load, report, chart_before):
    load.stop()
    release.run(release.documented("uninstall"), timeout_s=180)
    assert [claim["metadata"]["name"] for claim in release.get("persistentvolumeclaims")] == [f"{NAME}-models"]
    chart, name, flags = chart_before.result(timeout=1200)
    report.remarks.append(name)
    began = time.monotonic()
    release.run(release.documented("install", ("helm/pynumdraw", f"{chart} {flags}")))
    assert time.monotonic() - began < 90, "it trained again, though the store holds versions"
    load.versions = {1}
    load.start()
    begin = time.monotonic()
    release.upgrade(image_flags(release, release.site.tag), "--timeout 5m")
    time.sleep(SETTLE_S)  # what the old pods leave behind would be seen now
    assert tally(load.outcomes, begin, time.monotonic()).sent > 30 * (time.monotonic() - begin) - 30
    assert "Succeeded" in release.run(release.documented("test")).stdout


def image_flags(release, tag):
    """Flags of helm that name the images by this tag."""
    return " ".join(f"--set {name}.image.tag={tag}" for name in release.images)


def release_before(release, folder):
    """The chart of the release before, what it is, and flags that name its images, which are built here of the same commit.

    docs/release.md names the commits of releases. Where this clone has none of another version: this chart as 0.0.1, with its own images.
    """
    version = yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    named = re.findall(r"^\| (\d+\.\d+\.\d+) \|.*\| ([0-9a-f]{40}) \|$", (ROOT / "docs" / "release.md").read_text(), re.MULTILINE)
    missing = ""
    for before, commit in reversed(named):
        if before != version:
            if subprocess.run(["git", "cat-file", "-e", f"{commit}^{{commit}}"], cwd=ROOT, check=False).returncode:
                missing = f"{before}, commit {commit[:12]}, is not in this clone (git fetch --unshallow brings it)"
                continue
            archive = subprocess.run(["git", "archive", commit], cwd=ROOT, capture_output=True, check=True).stdout
            subprocess.run(["tar", "-x", "-C", str(folder)], input=archive, check=True)
            for path in (ROOT / "data").glob("*-ubyte"):
                shutil.copy(path, folder / "data")
            named_so = (f"IMAGE_REGISTRY={release.site.registry}", f"IMAGE_TAG={before}", f"COMMIT={commit[:12]}")
            subprocess.run(["make", "--old-file=data", "build", *named_so], cwd=folder, check=True)  # the data is there
            if release.site.image_load:
                images = (f"{release.site.registry}/pynumdraw-{name}:{before}" for name in release.images)
                release.run(f"{release.site.image_load} {' '.join(images)}", timeout_s=900)
            flags = image_flags(release, before)
            return folder / "helm" / "pynumdraw", f"{before}, commit {commit[:12]}", flags
    chart = folder / "pynumdraw"
    shutil.copytree(CHART, chart)
    text = (chart / "Chart.yaml").read_text()
    (chart / "Chart.yaml").write_text(text.replace(f"version: {version}\n", "version: 0.0.1\n", 1))
    return chart, f"{missing or 'there is no release before'}: the same chart as 0.0.1", ""


def test_no_request_failed_and_none_was_answered_wrongly(load):
    load.stop()
    total = tally(load.outcomes, 0, time.monotonic())
    assert total.sent > 5000
    assert (total.failed, total.wrong) == (0, 0)
