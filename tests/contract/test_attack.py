"""The short form of `make attack`: one gateway meets each attack for a second, and keeps its promises of safety; how fast is not asked."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import stack
from tests.attack.play import ATTACKS, MEMORY_MB, Attack, attacked, bad_replies, end_under_load, gateway, reads
from tests.contract.fake_serving import FakeServing, serve

SECONDS = 0.6
PATIENT = {"PREDICT_TIMEOUT_S": "30"}  # a machine that is busy with other tests is no fault of the gateway
SHORT = [attack for attack in ATTACKS if not (attack.dns or attack.hung or attack.fds or attack.bad_replies)]


@pytest.fixture(scope="module")
def fake() -> Iterator[FakeServing]:
    with serve(FakeServing()) as running:
        yield running


@pytest.fixture(scope="module")
def running(fake: FakeServing, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[stack.Program, int, int]]:
    with gateway(Attack("", 0), f"127.0.0.1:{fake.port}", tmp_path_factory.mktemp("attack"), **PATIENT) as started:
        yield started


@pytest.mark.parametrize("attack", SHORT, ids=lambda attack: attack.name)
def test_probes_and_ordinary_clients_are_answered_during_an_attack(running: tuple[stack.Program, int, int], attack: Attack) -> None:
    program, port, management_port = running
    seen = attacked(program, port, management_port, attack, SECONDS)
    stack.wait_until("an ordinary drawing is read", lambda: reads(port))
    assert seen.probes_failed == 0
    assert set(seen.answers) <= {200, 429}
    assert seen.errors == 0, "5xx that a client's bytes caused"
    assert seen.memory_mb <= MEMORY_MB


def test_replies_of_no_model_cost_nothing_but_their_answers(fake: FakeServing, tmp_path: Path) -> None:
    attack = Attack("cards", 8, bad_replies=True)
    with gateway(attack, f"127.0.0.1:{fake.port}", tmp_path, **PATIENT) as (program, port, management_port):
        fake.corrupt = bad_replies()
        try:
            seen = attacked(program, port, management_port, attack, SECONDS)
        finally:
            fake.corrupt = None
        stack.wait_until("an ordinary drawing is read", lambda: reads(port))
        assert (seen.probes_failed, set(seen.answers) - {429}) == (0, {502})
        assert seen.memory_mb <= MEMORY_MB
        assert "Traceback" not in program.output, program.output[-3000:]


def test_sigterm_under_load_loses_no_connection(fake: FakeServing, tmp_path: Path) -> None:
    with gateway(Attack("newcomers", 16), f"127.0.0.1:{fake.port}", tmp_path, **PATIENT) as (program, port, _):
        counts = end_under_load(program, port, 16, 3)
    assert counts["answered"] > 0
    assert counts["refused"] > 0
    assert (counts["lost"], counts["exit code"]) == (0, 0)
