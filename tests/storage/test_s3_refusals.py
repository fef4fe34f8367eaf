"""What servers refuse and how they misbehave: each with the server, the reason and what to do, and no credentials."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import Bucket
from services.old_s3 import OldS3, old_s3
from services.proxy import Trouble, troubled
from storage.conftest import s3_store
from trtreg.errors import TrtregError, Unreachable, UsageError
from trtreg.storage.s3 import S3Store

SECRET = "wJalrXUtnFEMI/K7MDENG"


@pytest.fixture(autouse=True)
def _somebody(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_PROFILE", "AWS_SESSION_TOKEN", "AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("HOME", "/nonexistent")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)


@pytest.fixture
def server() -> Iterator[OldS3]:
    with old_s3() as server:
        yield server


def at(server: OldS3, folder: Path, **options: object) -> S3Store:
    more = "".join(f"&{name}={value}" for name, value in options.items())
    return s3_store(f"s3://bucket/p?endpoint_url={server.url}{more}", folder)


def refusal_of(store: S3Store) -> TrtregError:
    """The same whatever is asked, and it never tells the secret."""
    with pytest.raises(Unreachable) as read:
        store.read_record("a")
    for ask in (lambda: store.insert_record("a", b""), lambda: store.replace_record("a", b"")):
        with pytest.raises(Unreachable):
            ask()
    assert SECRET not in f"{read.value.message} {read.value.hint}"
    return read.value


@pytest.mark.parametrize(
    ("status", "code", "more", "said", "hint"),
    [
        (403, "AccessDenied", "", "access denied", "docs/s3.md"),
        (403, "InvalidAccessKeyId", "", "doesn't know the access key", "AWS_ACCESS_KEY_ID"),
        (403, "SignatureDoesNotMatch", "", "secret key isn't that", "AWS_SECRET_ACCESS_KEY"),
        (403, "RequestTimeTooSkewed", "", "clock is wrong: ", "NTP"),
        (403, "ExpiredToken", "<Message>The token has expired.</Message>", "have expired", "log in"),
        (404, "NoSuchBucket", "", "no such bucket", "TRTREG_STORE"),
        (400, "AuthorizationHeaderMalformed", "<Region>eu-west-1</Region>", "eu-west-1", "region=eu-west-1"),
        (503, "SlowDown", "", "slow down (SlowDown), after 2 attempts", "later"),
        (500, "InternalError", "", "the server failed", "log"),
        (418, "Teapot", "<Message>I have no coffee.</Message>", "I have no coffee (Teapot)", "doctor"),
        (507, "", "", "full", "prune"),
    ],
)
def test_each_refusal_is_told_with_its_reason_and_a_hint(
    server: OldS3, tmp_path: Path, status: int, code: str, more: str, said: str, hint: str
) -> None:
    server.refusal = (status, code, more)
    refusal = refusal_of(at(server, tmp_path, retries=1))
    assert said in refusal.message
    assert server.url in refusal.message
    assert "s3://bucket/p" in refusal.message
    assert hint in refusal.hint


def test_what_may_pass_is_asked_again_and_what_cannot_is_not(server: OldS3, tmp_path: Path) -> None:
    # Forbidden may mean absent, for which the list is asked.
    for refusal, times in (((503, "SlowDown", ""), 3), ((403, "AccessDenied", ""), 2), ((403, "ExpiredToken", ""), 1)):
        server.refusal = refusal
        server.asked.clear()
        with pytest.raises(Unreachable):
            at(server, tmp_path, retries=2).read_record("a")
        assert len(server.asked) == times


def test_a_server_that_is_not_there_is_named_with_the_systems_own_words(tmp_path: Path) -> None:
    with old_s3() as gone:
        url = gone.url
    store = s3_store(f"s3://bucket/p?endpoint_url={url}&retries=0", tmp_path)
    assert f"at {url}: Connection refused" in refusal_of(store).message


def test_a_host_that_nobody_knows_is_named(tmp_path: Path) -> None:
    store = s3_store("s3://bucket/p?endpoint_url=http://no-such-host.invalid&retries=0", tmp_path)
    assert "http://no-such-host.invalid" in refusal_of(store).message


def test_a_server_that_never_answers_is_given_up(server: OldS3, tmp_path: Path) -> None:
    with troubled(server.url, lambda _: Trouble(kind="slow", way="up", pause=5.0)) as proxy:
        store = s3_store(f"s3://bucket/p?endpoint_url={proxy.url}&retries=0&read_timeout=0.2", tmp_path)
        with pytest.raises(Unreachable, match=r"[Rr]ead timeout") as refusal:
            store.read_record("a")
    assert "read_timeout=" in refusal.value.hint


def test_without_credentials_they_are_asked_for(server: OldS3, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    refusal = refusal_of(at(server, tmp_path))
    assert "no credentials" in refusal.message
    assert "AWS_ACCESS_KEY_ID" in refusal.hint
    # A public bucket needs none.
    assert at(server, tmp_path, anonymous=1).read_record("a") is None


def test_a_profile_that_is_not_there_is_a_setting_to_mend(server: OldS3, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="nobody"):
        at(server, tmp_path, profile="nobody").read_record("a")


@pytest.mark.parametrize("conditions", ["ignored", "unknown"])
def test_a_server_without_conditional_writes_still_never_overwrites_an_earlier_record(
    server: OldS3, tmp_path: Path, conditions: str
) -> None:
    server.conditions = conditions
    store = at(server, tmp_path)
    for name in ("a", "b"):
        assert store.insert_record(name, b"first")
        assert not store.insert_record(name, b"second")
        assert store.read_record(name) == b"first"


def test_our_own_record_whose_answer_got_lost_is_not_taken_for_anothers(server: OldS3, tmp_path: Path) -> None:
    server.conditions = "lost"
    assert at(server, tmp_path).insert_record("a", b"ours")
    assert server.asked.count("PUT /bucket/p/a") == 2


def test_real_servers_refusals_are_told_as_such(
    bucket: Bucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = s3_store(bucket.place("p"), tmp_path)
    assert "doesn't know the access key" in refusal_of(stranger).message
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", bucket.server.access_key)
    impostor = s3_store(bucket.place("p"), tmp_path)
    assert "secret key isn't that" in refusal_of(impostor).message
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", bucket.server.secret_key)
    lost = s3_store(f"s3://no-such-bucket-{bucket.name}?endpoint_url={bucket.server.http}", tmp_path)
    assert "no such bucket" in refusal_of(lost).message
