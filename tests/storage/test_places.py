"""What TRTREG_STORE takes."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trtreg.errors import Unreachable, UsageError
from trtreg.storage.directory import DirectoryStore
from trtreg.storage.layers import LayeredStore
from trtreg.storage.places import FolderPlace, anchored, open_store, parse_places, written
from trtreg.storage.s3_place import BucketPlace, parse_bucket


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("/srv/engines", [FolderPlace(Path("/srv/engines"))]),
        ("  /srv/engines\n", [FolderPlace(Path("/srv/engines"))]),
        ("/my engines", [FolderPlace(Path("/my engines"))]),
        ("file:///my%20engines", [FolderPlace(Path("/my engines"))]),
        ("file:///mirror?readonly=1", [FolderPlace(Path("/mirror"), readonly=True)]),
        ("/near s3://far", [FolderPlace(Path("/near")), BucketPlace(bucket="far")]),
        ("/near /far", [FolderPlace(Path("/near")), FolderPlace(Path("/far"))]),
        ("s3://engines/p/q/", [BucketPlace(bucket="engines", prefix="p/q")]),
    ],
)
def test_text_names_places(text: str, places: list[object]) -> None:
    assert list(parse_places(text)) == places


def test_a_buckets_options_are_read_and_written_back() -> None:
    text = (
        "s3://engines/team/a?endpoint_url=https://s3.example.org:9000&region=eu-west-1&profile=farm&path_style=1"
        "&checksums=when_supported&sign_payload=0&sse=aws:kms&sse_kms_key_id=k&near=0&ranges=4&readonly=1"
        "&connect_timeout=2.5&retries=0"
    )
    place = parse_bucket(text)
    assert place.endpoint_url == "https://s3.example.org:9000"
    assert (place.path_style, place.sign_payload, place.near, place.readonly) == (True, False, False, True)
    assert (place.ranges, place.connect_timeout, place.retries) == (4, 2.5, 0)
    assert parse_bucket(str(place)) == place
    assert str(parse_bucket("s3://engines/team/")) == "s3://engines/team"


@pytest.mark.parametrize(
    "text",
    [
        "gs://bucket",
        "s3://",
        "s3:///prefix",
        "s3://b",
        "s3://bucket/../other",
        "s3://bucket/a//b",
        "s3://bucket/p#f",
        "s3://bucket?nonsense=1",
        "s3://bucket?near=perhaps",
        "s3://bucket?ranges=0",
        "s3://bucket?ranges=17",
        "s3://bucket?read_timeout=0",
        "s3://bucket?read_timeout=nan",
        "s3://bucket?checksums=never",
        "s3://bucket?endpoint_url=host:9000",
        "s3://bucket?endpoint_url=https://host/path",
        "s3://bucket?sse_kms_key_id=k",
        "s3://[bucket",
        "file:///x?mode=1",
    ],
)
def test_what_names_no_place_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        parse_places(text)


@pytest.mark.parametrize(
    "text",
    [
        "s3://AKIAXYZ:hunter2@bucket/prefix",
        "s3://bucket?endpoint_url=https://AKIAXYZ:hunter2@host",
        "s3://bucket?secret_access_key=hunter2",
        "s3://bucket?aws_session_token=hunter2",
    ],
)
def test_credentials_in_an_address_are_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(UsageError, match="credentials") as refusal:
        parse_places(text)
    assert "hunter2" not in refusal.value.message + refusal.value.hint


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("/mirror?readonly=1", "file:///mirror?readonly=1"),
        ("s3:/engines/team", "s3://engines/team"),
        ("file:mirror", "file://mirror"),
    ],
)
def test_an_address_with_a_slip_in_it_does_not_become_a_folder(text: str, meant: str) -> None:
    with pytest.raises(UsageError) as refusal:
        parse_places(text)
    assert meant in refusal.value.hint


def test_one_place_is_its_own_store_and_several_are_layers(tmp_path: Path) -> None:
    def opened(text: str) -> object:
        return open_store(text, partials=tmp_path, warn=pytest.fail)

    assert isinstance(opened(f"{tmp_path}/a"), DirectoryStore)
    assert isinstance(opened(f"{tmp_path}/a {tmp_path}/b"), LayeredStore)
    assert isinstance(opened(f"file://{tmp_path}/a?readonly=1"), LayeredStore)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("folder", ["/srv/engines", "/my engines", "/my /engines", "/100%", "/é"])
def test_a_folder_can_be_written_whatever_its_name(folder: str) -> None:
    assert parse_places(written(Path(folder))) == (FolderPlace(Path(folder)),)


def test_a_relative_folder_is_taken_from_where_it_was_written() -> None:
    assert anchored("engines", Path("/home/me")) == "/home/me/engines"
    assert anchored("file://engines", Path("/home/me")) == "/home/me/engines"
    assert anchored("engines s3://far/p", Path("/home/me")) == "/home/me/engines s3://far/p"


OPENED = """
import sys
from pathlib import Path
from trtreg.errors import UsageError
from trtreg.storage.places import open_store
store = open_store("s3://bucket/prefix", partials=Path("/nowhere"), warn=print)
assert not {"boto3", "botocore", "urllib3"} & set(sys.modules), "opening a store asks for nothing yet"
sys.modules["boto3"] = None
try:
    store.read_record("a")
except UsageError as error:
    print(error.message, "|", error.hint)
"""


def test_without_boto3_the_extra_that_brings_it_is_named() -> None:
    printed = subprocess.run([sys.executable, "-c", OPENED], capture_output=True, text=True, check=True).stdout
    assert printed == "the store s3://bucket/prefix needs boto3 | pip install 'trtreg[s3]'\n"


def test_a_folder_that_is_only_read_must_be_there(tmp_path: Path) -> None:
    """Else a share that isn't mounted looks like a store with nothing in it."""
    store = open_store(f"file://{tmp_path}/share?readonly=1", partials=tmp_path, warn=pytest.fail)
    for question in (
        lambda: store.read_record("models/a/00000001.json"),
        lambda: list(store.record_names("models/")),
        lambda: list(store.blobs()),
    ):
        with pytest.raises(Unreachable, match="isn't there") as refused:
            question()
        assert "mounted" in refused.value.hint
    (tmp_path / "share").mkdir()
    store = open_store(f"file://{tmp_path}/share?readonly=1", partials=tmp_path, warn=pytest.fail)
    assert store.read_record("models/a/00000001.json") is None


def test_a_share_that_is_not_mounted_is_passed_over_with_a_warning(tmp_path: Path) -> None:
    told: list[str] = []
    own = open_store(str(tmp_path / "own"), partials=tmp_path, warn=pytest.fail)
    own.insert_record("models/a/00000001.json", b"{}")
    both = open_store(f"file://{tmp_path}/share?readonly=1 {tmp_path}/own", partials=tmp_path, warn=told.append)
    assert both.read_record("models/a/00000001.json") == b"{}"
    assert list(both.record_names("models/")) == ["models/a/00000001.json"]
    assert len(told) == 1
    assert "share isn't there" in told[0]
    assert both.is_partial
