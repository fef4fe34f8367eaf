"""The farm over real RabbitMQ and PostgreSQL, its workers in processes of their own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from farm.conftest import COMMAND, PATIENCE, Place, until
from trtreg.wiring.workplace import farm_status

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("farm"),
    pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc"),
]


def _asker(place: Place, *wish: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--verbose", "--cache", str(place.folder / "asker"), "get", *wish, "--farm"],
        env=place.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _until_running(place: Place, count: int = 1) -> None:
    until(lambda: [b["state"] for b in place.builds()].count("running") == count)


def test_a_worker_builds_what_is_asked_for_elsewhere_and_the_asker_fetches_it(place: Place) -> None:
    worker = place.worker()
    done = place.call("get", "tiny", "--fp16", "--farm")
    assert done.returncode == 0, done.stderr
    (path,) = done.stdout.splitlines()
    assert Path(path).is_file()
    assert "in trtreg.onnxruntime-" in done.stderr
    (build,) = place.builds()
    assert (build["state"], build["attempts"], build["model"]) == ("done", 1, "tiny@1 (fp16)")
    # What is there isn't asked of the farm again.
    assert place.call("get", "tiny", "--fp16", "--farm").stdout == done.stdout
    assert len(place.builds()) == 1
    log = place.call("builds", "logs", "-f", str(build["id"])[:6])
    assert {"rewrite", "build", "gate"} <= set(log.stdout.split())
    assert worker.end() == 0


def test_a_busy_worker_leaves_the_next_message_to_others_and_has_let_go_of_its_own(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place.worker()
    one = place.call("get", "tiny", "--farm", "--no-wait").stdout.strip()
    child = first.halt()
    _until_running(place)
    two = place.call("get", "tiny", "--fp16", "--farm", "--no-wait").stdout.strip()
    assert one != two
    (status,) = farm_status(place.settings(monkeypatch))
    assert (status.wanted, status.running, status.messages, status.workers) == (1, 1, 1, 1)

    second = place.worker()
    until(lambda: {b["id"]: b["state"] for b in place.builds()}[two] == "done", lambda: second.said)
    os.kill(child, signal.SIGCONT)
    until(lambda: {b["state"] for b in place.builds()} == {"done"}, lambda: first.said)
    # And the first takes messages again.
    assert second.end() == 0
    assert place.call("get", "tiny", "--fp16", "--keep-fp32", "Conv", "--farm").returncode == 0


def test_a_killed_workers_build_is_made_by_another_and_published_once(place: Place) -> None:
    first = place.worker()
    asker = _asker(place, "tiny", "--fp16")
    first.halt()
    _until_running(place)
    second = place.worker()
    os.killpg(first.process.pid, signal.SIGKILL)
    out, err = asker.communicate(timeout=PATIENCE)
    assert asker.returncode == 0, err
    assert Path(out.strip()).is_file()
    (build,) = place.builds()
    assert (build["state"], build["attempts"]) == ("done", 2)
    assert str(second.process.pid) in str(build["worker"])
    assert len(list((place.folder / "home" / "store" / "manifests").glob("*/blessed"))) == 1


def test_a_worker_that_was_frozen_until_another_took_its_build_does_not_say_how_it_ended(place: Place) -> None:
    frozen = place.worker()
    asker = _asker(place, "tiny")
    child = frozen.halt()
    _until_running(place)
    frozen.process.send_signal(signal.SIGSTOP)
    heir = place.worker()
    its_child = heir.halt()
    until(lambda: str(place.builds()[0]["worker"]).startswith(f"{heir.process.pid}@"), lambda: heir.said)
    os.kill(child, signal.SIGKILL)
    frozen.process.send_signal(signal.SIGCONT)
    frozen.until("succeeded in")  # Celery's word for having worked on a message.
    assert place.builds()[0]["state"] == "running"
    os.kill(its_child, signal.SIGCONT)
    out, err = asker.communicate(timeout=PATIENCE)
    assert (asker.returncode, bool(out)) == (0, True), err
    assert [b["state"] for b in place.builds()] == ["done"]


def test_sigterm_lets_the_build_end_and_leaves_what_waits(place: Place) -> None:
    worker = place.worker()
    place.call("get", "tiny", "--farm", "--no-wait")
    child = worker.halt()
    _until_running(place)
    place.call("get", "tiny", "--fp16", "--farm", "--no-wait")
    worker.process.send_signal(signal.SIGTERM)
    worker.until("Warm shutdown")
    os.kill(child, signal.SIGCONT)
    assert worker.process.wait(timeout=PATIENCE) == 0
    assert sorted(str(b["state"]) for b in place.builds()) == ["done", "wanted"]
    told = place.call("farm", "status")
    assert "no worker serves trtreg.onnxruntime-" in told.stderr


def test_builds_are_called_off_whether_they_wait_or_run(place: Place) -> None:
    waiting = place.call("get", "tiny", "--fp16", "--farm", "--no-wait").stdout.strip()
    assert place.call("builds", "cancel", waiting).stdout.strip() == waiting
    assert place.call("builds", "logs", "-f", waiting).returncode == 4
    assert "has ended before: cancelled" in place.call("builds", "cancel", waiting).stderr
    worker = place.worker()
    asker = _asker(place, "tiny")
    worker.halt()
    _until_running(place)
    running = next(str(b["id"]) for b in place.builds() if b["state"] == "running")
    place.call("builds", "cancel", running)
    out, err = asker.communicate(timeout=PATIENCE)
    assert (asker.returncode, out) == (4, "")
    assert "was called off" in err
    # A message for what has ended, or never was, is heeded by nobody.
    assert place.call("get", "tiny", "--farm").returncode == 0


def test_a_failure_is_the_askers_failure_and_is_remembered_until_retry(place: Place) -> None:
    place.worker()
    failed = place.call("get", "tiny", "--bf16", "--farm")
    assert (failed.returncode, failed.stdout) == (4, "")
    assert "refuses the model in bf16" in failed.stderr
    again = place.call("get", "tiny", "--bf16", "--farm")
    assert (again.returncode, "--retry tries at once" in again.stderr) == (4, True)
    assert len(place.builds()) == 1
    assert place.call("get", "tiny", "--bf16", "--farm", "--retry").returncode == 4
    assert len(place.builds()) == 2


def test_a_job_of_many_builds_ends_as_its_worst_failure(place: Place) -> None:
    place.worker("--targets", "x86_64", "--concurrency", "2")
    job = place.call("build", "tiny", "--precisions", "fp32,fp16,bf16", "--farm")
    assert job.returncode == 4
    assert [line.split()[-1] for line in job.stdout.splitlines()] == ["done", "done", "failed"]
    good = place.call("build", "tiny@1", "tiny", "--precisions", "fp32,fp16", "--farm")
    assert (good.returncode, len(good.stdout.splitlines())) == (0, 4)


def test_an_upgrade_is_rehearsed_by_a_worker_that_has_it_and_compared_with_today(place: Place) -> None:
    assert place.call("build", "tiny").returncode == 0
    upgraded = place.upgraded_worker("99.0.0")
    assert "trtreg.onnxruntime-99.0.0." in place.call("farm", "status").stdout
    wish = ("plan-upgrade", "--onnxruntime", "99.0.0")
    done = place.call(*wish, "--build", "--farm", "--json")
    assert done.returncode == 0, done.stderr + upgraded.said
    (engine,) = json.loads(done.stdout)
    assert (engine["outcome"], engine["same_inputs"]) == ("done", True)
    assert engine["figures"]["strain"]["today"] == engine["figures"]["strain"]["then"] is not None
    assert [e["state"] for e in json.loads(place.call(*wish, "--json").stdout)["engines"]] == ["ready"]


def test_without_a_broker_a_build_is_wanted_all_the_same_and_a_worker_finds_it(place: Place) -> None:
    broker, place.broker = place.broker, "amqp://guest:guest@127.0.0.1:1//"
    asked = place.call("get", "tiny", "--farm", "--no-wait")
    assert asked.returncode == 0
    assert "guest:guest" not in asked.stderr
    assert "a worker's sweep finds the build" in asked.stderr
    place.broker = broker
    place.worker()
    number = asked.stdout.strip()
    import sqlalchemy

    engine = sqlalchemy.create_engine(place.catalog)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE builds SET sent_at = sent_at - 100"))
    engine.dispose()
    until(lambda: {b["id"]: b["state"] for b in place.builds()}[number] == "done")


def test_a_worker_without_a_gpu_builds_for_one_and_the_plan_waits_to_be_proven(place: Place) -> None:
    pytest.importorskip("tensorrt_rtx")
    place.worker("--targets", "sm_89")
    asked = place.call("get", "tiny", "--target", "sm_89", "--farm")
    assert (asked.returncode, asked.stdout) == (3, ""), asked.stderr
    assert "built, but not proven" in asked.stderr
    proof, build = place.builds()
    assert (proof["state"], str(proof["queue"]).startswith("trtreg.gate.tensorrt-rtx-")) == ("wanted", True)
    assert (build["state"], ".sm_89." in str(build["queue"])) == ("done", True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"broker": ""}, "no farm is set"),
        ({"broker": "redis://127.0.0.1//"}, "no broker of trtreg's"),
        ({"catalog": "sqlite:////tmp/nowhere/catalog.db"}, "share a catalog in PostgreSQL"),
    ],
)
def test_what_is_no_farm_is_refused_with_a_hint(tmp_path: Path, change: dict[str, str], says: str) -> None:
    place = Place(tmp_path, "postgresql+psycopg://127.0.0.1:1/none", "amqp://127.0.0.1:1//")
    for name, value in change.items():
        setattr(place, name, value)
    refused = place.call("builds", "ls")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert says in refused.stderr
