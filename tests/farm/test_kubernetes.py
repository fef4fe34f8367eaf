"""The manifests of examples/kubernetes: what Kubernetes and KEDA take, commands that exist, queues that workers serve.

KEDA's own resources are held against the few fields that its documentation gives them and that are used here.
"""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import jsonschema
import kubernetes_validate
import pytest
import yaml

from trtreg.core.build import queue_of
from trtreg.core.target import Target
from trtreg.wiring.config import load_settings
from trtreg_cli.main import cli

_FOLDER = Path(__file__).resolve().parents[2] / "examples" / "kubernetes"
_FILES = sorted(_FOLDER.glob("*.yaml"))
_KUBERNETES = "1.34"

_WORD = {"type": "string", "minLength": 1}
_COUNT = {"type": "integer", "minimum": 0}


def _exactly(*required: str, **properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(required), "properties": properties, "additionalProperties": False}


_RABBITMQ = _exactly(
    "mode",
    "value",
    "queueName",
    protocol={"enum": ["amqp", "http", "auto"]},
    mode={"enum": ["QueueLength", "MessageRate"]},
    # KEDA reads numbers from text.
    value={"type": "string", "pattern": "^[0-9.]+$"},
    activationValue={"type": "string", "pattern": "^[0-9.]+$"},
    queueName=_WORD,
)
_TRIGGER = _exactly(
    "type", "metadata", type={"const": "rabbitmq"}, metadata=_RABBITMQ, authenticationRef=_exactly("name", name=_WORD)
)
_KEDA = {
    "ScaledObject": _exactly(
        "scaleTargetRef",
        "triggers",
        scaleTargetRef=_exactly("name", name=_WORD, kind=_WORD, apiVersion=_WORD),
        minReplicaCount=_COUNT,
        maxReplicaCount=_COUNT,
        pollingInterval=_COUNT,
        cooldownPeriod=_COUNT,
        triggers={"type": "array", "minItems": 1, "items": _TRIGGER},
    ),
    "TriggerAuthentication": _exactly(
        "secretTargetRef",
        secretTargetRef={
            "type": "array",
            "items": _exactly("parameter", "name", "key", parameter=_WORD, name=_WORD, key=_WORD),
        },
    ),
}


def _documents(*files: Path) -> list[dict[str, Any]]:
    return [document for file in files or _FILES for document in yaml.safe_load_all(file.read_text())]


def _of(kind: str) -> dict[str, dict[str, Any]]:
    return {d["metadata"]["name"]: d for d in _documents() if d["kind"] == kind}


def _pods() -> Iterator[dict[str, Any]]:
    for document in _documents():
        if document["kind"] in ("Deployment", "Job"):
            yield document["spec"]["template"]["spec"]


@pytest.mark.parametrize("file", _FILES, ids=lambda file: file.name)
def test_every_manifest_is_one_that_kubernetes_or_keda_takes(file: Path) -> None:
    for document in _documents(file):
        if document["apiVersion"].startswith("keda.sh/"):
            jsonschema.validate(document["spec"], _KEDA[document["kind"]])
        else:
            kubernetes_validate.validate(document, _KUBERNETES, strict=True)


def test_a_field_that_nobody_knows_is_noticed() -> None:
    wrong = next(d for d in _documents() if d["kind"] == "Deployment")
    wrong["spec"]["template"]["spec"]["terminationGraceSeconds"] = 5
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, _KUBERNETES, strict=True)


def test_every_command_is_one_of_trtreg() -> None:
    for pod in _pods():
        for container in pod["containers"]:
            assert container["command"] == ["trtreg"]
            words = [str(word) for word in container["args"]]
            assert shlex.split(shlex.join(words)) == words
            _parse(cli, "trtreg", words)


def _parse(command: click.Command, name: str, words: list[str], parent: click.Context | None = None) -> None:
    context = command.make_context(name, list(words), parent=parent)
    if isinstance(command, click.Group):
        rest = [*context._protected_args, *context.args]
        below, subcommand, rest = command.resolve_command(context, rest)
        assert below
        assert subcommand
        _parse(subcommand, below, rest, context)


def test_every_setting_is_one_that_trtreg_reads_as_it_stands() -> None:
    given = dict(_of("Secret")["trtreg"]["stringData"])
    for pod in _pods():
        given |= {e["name"]: e["value"] for c in pod["containers"] for e in c.get("env", ())}
    known = {name: value for name, value in given.items() if name.startswith("TRTREG_")}
    known.pop("TRTREG_TRUSTED_KEYS")
    settings = load_settings(environment=known, folder=_FOLDER, flags={}, physical_memory=2**36)
    assert settings.broker == given["TRTREG_BROKER"]
    assert settings.catalog.startswith("postgresql+psycopg://")
    assert settings.limits.seconds == 3600


def test_a_worker_has_as_long_to_end_as_a_build_may_take() -> None:
    for name, deployment in _of("Deployment").items():
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        limit = next(e["value"] for e in container["env"] if e["name"] == "TRTREG_TIME_LIMIT")
        assert pod["terminationGracePeriodSeconds"] > int(limit), name


@pytest.mark.parametrize(
    ("name", "architecture", "device"),
    [("trtreg-worker-l4", "sm_89", "NVIDIA L4"), ("trtreg-worker-h100", "sm_90", "NVIDIA H100 80GB HBM3")],
)
def test_the_queues_that_scale_a_worker_are_those_that_it_serves(name: str, architecture: str, device: str) -> None:
    deployment = _of("Deployment")[name]["spec"]["template"]["spec"]
    # GPU feature discovery writes the device's name with dashes.
    assert deployment["nodeSelector"] == {"nvidia.com/gpu.product": device.replace(" ", "-")}
    (container,) = deployment["containers"]
    assert container["resources"]["limits"]["nvidia.com/gpu"] == "1"
    version = container["image"].rpartition("-")[2]
    served = {
        queue_of(
            Target(
                runtime="tensorrt",
                runtime_version=version,
                architecture=architecture,
                platform="linux-x86_64",
                cuda="12",
                device=where,
            )
        )
        for where in (device, "")
    }
    scaled = _of("ScaledObject")[name]["spec"]
    assert scaled["scaleTargetRef"]["name"] == name
    assert {trigger["metadata"]["queueName"] for trigger in scaled["triggers"]} == served


def test_what_is_referred_to_is_there_and_one_worker_always_runs() -> None:
    secrets, scaled = _of("Secret"), _of("ScaledObject")
    (authentication,) = _of("TriggerAuthentication").values()
    for reference in authentication["spec"]["secretTargetRef"]:
        assert reference["key"] in secrets[reference["name"]]["stringData"]
    for pod in _pods():
        named = [s["secretRef"]["name"] for c in pod["containers"] for s in c.get("envFrom", ())]
        named += [v["secret"]["secretName"] for v in pod.get("volumes", ()) if "secret" in v]
        assert set(named) <= secrets.keys()
    always = [d for name, d in _of("Deployment").items() if name not in scaled]
    assert any(d["spec"]["replicas"] > 0 for d in always)
