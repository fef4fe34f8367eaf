"""What a reader, a builder and an administrator may do with the policies of examples/policies: on a real server, three
users live their lives, and each is refused what is another's business."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import boto3
import pytest

from cli.conftest import Answer, Console, process
from conftest import Bucket
from services import ceph
from services.s3 import empty
from small_models import write_classifier, write_vanishing
from trtreg.core import layout
from trtreg.errors import Unreachable
from trtreg.models.naming import KEPT, Names
from trtreg.storage.s3 import S3Store
from trtreg.storage.s3_place import parse_bucket

sys.path.insert(0, str(Path(__file__).parents[2] / "examples" / "policies"))
from bucket_policy import ROLES, bucket_policy, statements

As = Callable[..., Answer]


@dataclass(frozen=True)
class Team:
    """A bucket with a user for each role. The builder has added the model `tiny` and built it."""

    bucket: Bucket
    place: str
    folder: Path
    keys: dict[str, tuple[str, str]]

    def environment(self, role: str) -> dict[str, str]:
        access, secret = self.keys[role]
        return {"AWS_ACCESS_KEY_ID": access, "AWS_SECRET_ACCESS_KEY": secret}

    def settings(self, role: str) -> tuple[str | Path, ...]:
        return "--home", self.folder / role, "--store", self.place

    def objects(self) -> dict[str, str]:
        """Everything in the bucket, with what tells one content from another."""
        pages = self.bucket.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket.name)
        return {found["Key"]: found["ETag"] for page in pages for found in page.get("Contents", [])}


@pytest.fixture(scope="module")
def team(bucket: Bucket, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    if not bucket.server.folder:
        pytest.skip("TRTREG_TEST_S3_FOLDER doesn't name the folder of the server's ceph.conf")
    folder = tmp_path_factory.mktemp("team")
    name = os.urandom(4).hex()
    users = {role: ceph.create_user(bucket.server, f"{role}-{name}") for role in ROLES}
    members = [(role, arn) for role, (_, _, arn) in users.items()]
    policy = json.dumps(bucket_policy(bucket.name, "team-a", members))
    bucket.client.put_bucket_policy(Bucket=bucket.name, Policy=policy)
    bucket.client.put_object(Bucket=bucket.name, Key="team-b/models/theirs/00000001.json", Body=b"{}")
    keys = {role: (access, secret) for role, (access, secret, _) in users.items()}
    team = Team(bucket, bucket.place("team-a"), folder, keys)
    try:
        for line in (("model", "add", "tiny", write_classifier(folder / "tiny.onnx")), ("build", "tiny")):
            done = process(*team.settings("builder"), *line, env=team.environment("builder"))
            assert (done.code, done.err.count("error")) == (0, 0), done
        yield team
    finally:
        bucket.client.delete_bucket_policy(Bucket=bucket.name)
        empty(bucket.client, bucket.name)
        for role in ROLES:
            ceph.remove_user(bucket.server, f"{role}-{name}")


@pytest.fixture
def become(team: Team, monkeypatch: pytest.MonkeyPatch, bare_console: Console) -> Callable[[str], As]:
    """`trtreg` as one role after the other."""

    def become(role: str) -> As:
        for name, value in team.environment(role).items():
            monkeypatch.setenv(name, value)
        return lambda *arguments: bare_console(*team.settings(role), *arguments)

    return become


def published(team: Team) -> str:
    [pointer] = [name for name in team.objects() if name.endswith("/blessed")]
    return pointer.split("/")[2]


def refused(answer: Answer) -> str:
    message = answer.refused(6)
    assert "access denied" in message
    assert "docs/s3.md" in answer.err
    return message


def store(team: Team, monkeypatch: pytest.MonkeyPatch, role: str) -> S3Store:
    for name, value in team.environment(role).items():
        monkeypatch.setenv(name, value)
    return S3Store(parse_bucket(team.place), sleep=lambda _: None)


# --- the reader


def test_a_reader_fetches_lists_and_hands_on(team: Team, become: Callable[[str], As], tmp_path: Path) -> None:
    trtreg, before = become("reader"), team.objects()
    assert Path(trtreg("get", "tiny").line).is_file()
    # Under a policy for one prefix the server says of what isn't there that it is forbidden.
    assert "no engine" in trtreg("get", "tiny", "--fp16", "--no-build").refused(3)
    assert "no model" in trtreg("get", "unknown").refused(3)
    assert "tiny@1" in trtreg("ls").out
    [file, *_] = trtreg("url", "tiny", "--json").json["files"]
    assert fetched(file["url"]) == file["size"]
    assert trtreg("store", "verify", "--deep").code == 0
    assert trtreg("store", "copy", team.place, tmp_path / "mirror").code == 0
    assert team.objects() == before


def test_a_reader_changes_nothing(team: Team, become: Callable[[str], As]) -> None:
    trtreg, before = become("reader"), team.objects()
    key = published(team)
    answer = trtreg("model", "add", "other", team.folder / "tiny.onnx")
    assert "readonly=1" in answer.err
    refused(answer)
    refused(trtreg("revoke", key, "--why", "no"))
    refused(trtreg("store", "prune"))
    tried = trtreg("doctor", "--store")
    assert "yes reach" in tried.out
    assert "no  write, read, list" in tried.out
    # What can't be tried isn't said to be lacking.
    assert "presigned" not in tried.out
    assert team.objects() == before


# --- the builder


def test_a_builder_publishes_and_is_judged(team: Team, become: Callable[[str], As]) -> None:
    trtreg = become("builder")
    assert trtreg("model", "add", "vanishing", write_vanishing(team.folder / "vanishing.onnx")).code == 0
    assert "the gate rejects" in trtreg("build", "vanishing", "--fp16").refused(5)
    assert "  no " not in trtreg("doctor", "--store").out
    assert not [name for name in team.objects() if "/trials/" in name]


def test_what_a_builder_may_not_delete_is_in_nobodys_way(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    names = Names(store(team, monkeypatch, "builder"))
    for number in range(KEPT + 2):
        names.change("tiny", lambda model, least=number: model.set_tolerance({"relative_l2": 0.1 + least / 100}))
    assert names.revision("tiny") == KEPT + 3


def test_a_builder_takes_nothing_away(team: Team, become: Callable[[str], As], monkeypatch: pytest.MonkeyPatch) -> None:
    trtreg, before = become("builder"), team.objects()
    key = published(team)
    refused(trtreg("revoke", key, "--why", "no"))
    refused(trtreg("store", "prune", "--keep", "nothing", "--keep-last", "0"))
    mine = store(team, monkeypatch, "builder")
    blob = next(iter(mine.blobs()))
    with pytest.raises(Unreachable, match="access denied"):
        mine.remove_blob(blob.sha256)
    for name in [n for prefix in (layout.MANIFESTS, layout.MODELS) for n in mine.record_names(prefix)]:
        with pytest.raises(Unreachable, match="access denied"):
            mine.delete_record(name)
    # An earlier record stays whatever a builder inserts.
    assert all(not mine.insert_record(name, b"another") for name in mine.record_names(layout.MANIFESTS))
    assert team.objects() == before


def test_a_builder_keeps_timings_refit_sources_and_quarantine(team: Team, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = store(team, monkeypatch, "builder")
    for name in ("timings/kind/a", "unproven/key/a.json", "rejected/key/a.json"):
        assert mine.insert_record(name, b"{}")
        mine.delete_record(name)
        assert mine.read_record(name) is None
    assert mine.insert_record("refits/kind/a.json", b"{}")
    mine.replace_record("refits/kind/a.json", b"{ }")
    assert mine.sweep(0.0) == 0
    store(team, monkeypatch, "administrator").delete_record("refits/kind/a.json")


# --- the administrator


def test_an_administrator_withdraws_and_keeps_in_order(
    team: Team, become: Callable[[str], As], monkeypatch: pytest.MonkeyPatch
) -> None:
    trtreg = become("administrator")
    assert trtreg("revoke", published(team), "--why", "boxes are off by one").code == 0
    assert "boxes are off by one" in become("reader")("get", "tiny", "--refresh", "--no-build").refused(7)
    trtreg = become("administrator")
    assert trtreg("store", "verify", "--deep", "--repair").code == 0
    assert trtreg("store", "prune", "--alone", "--grace", "0h", "--keep-last", "0", "--keep-days", "0").code == 0
    assert trtreg("store", "copy", team.place, team.folder / "mirror").code in (0, 3)
    mine = store(team, monkeypatch, "administrator")
    [withdrawal] = mine.record_names(layout.REVOCATIONS)
    with pytest.raises(Unreachable, match="access denied"):
        mine.delete_record(withdrawal)
    assert mine.sweep(0.0) == 0


def test_nobody_gets_at_what_lies_beside_the_store(team: Team) -> None:
    for role in ROLES:
        access, secret = team.keys[role]
        client: Any = boto3.session.Session(
            aws_access_key_id=access, aws_secret_access_key=secret, region_name="us-east-1"
        ).client("s3", endpoint_url=team.bucket.server.http)
        theirs = {"Bucket": team.bucket.name, "Key": "team-b/models/theirs/00000001.json"}
        for request, asked in (
            (client.get_object, theirs),
            (client.put_object, {**theirs, "Body": b"mine"}),
            (client.delete_object, theirs),
            (client.list_objects_v2, {"Bucket": team.bucket.name, "Prefix": "team-b/"}),
            (client.list_objects_v2, {"Bucket": team.bucket.name}),
            (client.delete_bucket_policy, {"Bucket": team.bucket.name}),
        ):
            with pytest.raises(client.exceptions.ClientError, match="AccessDenied"):
                request(**asked)
        client.close()


# --- the policies as they are written


def may(role: str, action: str, name: str) -> bool:
    """Whether the role's file allows `s3:…` on an object: a refusal counts more than any permission."""
    effects = {
        statement["Effect"]
        for statement in statements(role, "engines", "team-a")
        if action in as_list(statement["Action"])
        and any(fnmatchcase(f"arn:aws:s3:::engines/team-a/{name}", arn) for arn in as_list(statement["Resource"]))
    }
    return effects == {"Allow"}


def as_list(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


PLACES = sorted(value for name, value in vars(layout).items() if name.isupper() and isinstance(value, str))
ADMINISTRATORS = {layout.REVOCATIONS, layout.CONDEMNED}


@pytest.mark.parametrize("place", PLACES)
def test_the_policies_cover_whatever_lies_in_a_store(place: str) -> None:
    name = f"{place}some/name.json" if place.endswith("/") else place
    assert all(may(role, "s3:GetObject", name) for role in ROLES)
    assert not may("reader", "s3:PutObject", name)
    assert may("builder", "s3:PutObject", name) == (place not in ADMINISTRATORS)
    assert may("administrator", "s3:PutObject", name)
    assert may("administrator", "s3:DeleteObject", name) == (place != layout.REVOCATIONS)
    published = {layout.BLOBS, layout.MANIFESTS, layout.MODELS, layout.REFITS, *ADMINISTRATORS}
    assert not (place in published and may("builder", "s3:DeleteObject", name))


def test_a_store_that_is_a_whole_bucket_has_no_prefix() -> None:
    text = json.dumps(bucket_policy("engines", "", [("reader", "arn:aws:iam:::user/me")]))
    assert '"arn:aws:s3:::engines/*"' in text
    assert '{"s3:prefix": "*"}' in text
    assert "PREFIX" not in text


def fetched(url: str) -> int:
    """Bytes that whoever has the URL, and no credentials, gets."""
    import urllib.request

    with urllib.request.urlopen(url, timeout=30) as answer:
        return len(answer.read())
