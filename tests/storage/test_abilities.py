"""What `trtreg doctor --store` finds out: of a real server, of old ones, of folders."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from conftest import Bucket
from services.old_s3 import old_s3
from trtreg.storage.abilities import Ability
from trtreg.storage.places import parse_places, try_out


def tried(place: str, folder: Path) -> dict[str, Ability]:
    [parsed] = parse_places(place)
    return {ability.name: ability for ability in try_out(parsed, partials=folder / "partial")}


def objects(bucket: Bucket) -> list[str]:
    listed = bucket.client.list_objects_v2(Bucket=bucket.name, Prefix="able/").get("Contents", [])
    return [there["Key"] for there in listed]


def test_a_real_server_can_do_it_all_and_nothing_of_the_trial_stays(bucket: Bucket, tmp_path: Path) -> None:
    prefix = f"able/{os.urandom(4).hex()}"
    found = tried(bucket.place(prefix), tmp_path)
    assert len(found) == 13
    assert [name for name, ability in found.items() if not ability.works] == []
    assert objects(bucket) == []
    assert not bucket.client.list_multipart_uploads(Bucket=bucket.name, Prefix=prefix).get("Uploads")


def test_over_tls_a_server_without_checksums_after_the_body_is_told(bucket: Bucket, tmp_path: Path) -> None:
    if not bucket.server.https:
        pytest.skip("the S3 server of TRTREG_TEST_S3 has no TLS: set TRTREG_TEST_S3_TLS and TRTREG_TEST_S3_CA")
    found = tried(bucket.place("able/tls", endpoint=bucket.server.https), tmp_path)
    trailing = found.pop("checksums after the body")
    assert "checksums=when_" in trailing.means
    assert all(ability.works for ability in found.values())


def test_a_server_that_ignores_conditions_is_found_out(tmp_path: Path) -> None:
    with old_s3() as server:
        found = tried(f"s3://bucket/p?endpoint_url={server.url}&retries=0", tmp_path)
    assert found["insert, one after the other"].works
    assert not found["conditional writes"].works
    assert "overwrites the first" in found["conditional writes"].seen
    assert not found["ranges"].works
    assert not found["uploads in parts"].works


def test_a_server_out_of_reach_is_one_answer(tmp_path: Path) -> None:
    with old_s3() as gone:
        url = gone.url
    [(name, ability)] = tried(f"s3://bucket/p?endpoint_url={url}&retries=0", tmp_path).items()
    assert (name, ability.works) == ("reach", False)
    assert "Connection refused" in ability.seen


def test_where_one_only_reads_nothing_is_written(bucket: Bucket, tmp_path: Path) -> None:
    found = tried(bucket.place("able/read", readonly=1), tmp_path)
    assert [*found] == ["reach", "clock"]
    assert tried(f"file://{tmp_path}/store?readonly=1", tmp_path) == {}
    assert not (tmp_path / "store").exists()


def test_a_folder_can_do_what_it_must(tmp_path: Path) -> None:
    assert all(ability.works for ability in tried(str(tmp_path / "store"), tmp_path).values())
    assert not any(path.is_file() for path in (tmp_path / "store").rglob("*"))
