"""trtreg key …, and what a builder and a reader are told about their keys."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import Answer, Console
from small_models import write_classifier
from trtreg.core.trust import parse_key, split_record


@pytest.fixture
def built(bare_console: Console, tmp_path: Path) -> Answer:
    """An engine of `tiny`, made before there were keys."""
    bare_console("model", "add", "tiny", write_classifier(tmp_path / "tiny.onnx"))
    return bare_console("--quiet", "get", "tiny")


def test_a_new_key_is_one_word_on_stdout_and_trusted_here(bare_console: Console, tmp_path: Path) -> None:
    made = bare_console("key", "new")
    listed = bare_console("key", "ls")

    private = tmp_path / "trtreg-home" / "signing-key.pem"
    key = parse_key(made.line)
    assert stat.S_IMODE(private.stat().st_mode) == 0o600
    assert str(private) in made.err
    assert listed.out.splitlines()[1].split() == [key.id, "-", "yes", "yes", "trusted.json", made.line]
    assert listed.err == "signatures: require\n"


def test_a_key_is_never_overwritten(bare_console: Console) -> None:
    bare_console("key", "new")

    assert "never overwritten" in bare_console("key", "new").refused(2)


def test_a_key_elsewhere_says_how_it_is_found(bare_console: Console, tmp_path: Path) -> None:
    made = bare_console("key", "new", "--output", tmp_path / "farm.pem")

    assert f"set TRTREG_SIGNING_KEY={tmp_path}/farm.pem" in made.err
    assert not (tmp_path / "trtreg-home" / "signing-key.pem").exists()


def test_keys_are_trusted_by_word_or_file_and_distrusted_by_id(
    bare_console: Console, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRTREG_HOME", str(tmp_path / "farm"))
    word = bare_console("key", "new").line
    (tmp_path / "farm.pub").write_text(word + "\n")
    pem = ["openssl", "pkey", "-in", tmp_path / "farm" / "signing-key.pem", "-pubout", "-out", tmp_path / "pub.pem"]
    subprocess.run(pem, check=True)
    monkeypatch.setenv("TRTREG_HOME", str(tmp_path / "reader"))
    key_id = parse_key(word).id

    assert bare_console("key", "trust", word, "--name", "farm").line == key_id
    assert "already" in bare_console("key", "trust", tmp_path / "farm.pub").err
    assert "already" in bare_console("key", "trust", tmp_path / "pub.pem").err
    assert bare_console("key", "ls").out.splitlines()[1].split()[:4] == [key_id, "farm", "yes", "no"]
    assert "is no public key" in bare_console("key", "trust", "nonsense").refused(2)

    gone = bare_console("key", "distrust", key_id)
    assert gone.line == key_id
    assert "signatures are off" in gone.err
    assert "no key" in bare_console("key", "distrust", key_id).refused(3)


def test_keys_in_the_environment_are_trusted(bare_console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    word = f"ed25519:{'A' * 43}="
    monkeypatch.setenv("TRTREG_TRUSTED_KEYS", f"{word} {word}")

    assert {line.split()[4] for line in bare_console("key", "ls").out.splitlines()[1:]} == {"TRTREG_TRUSTED_KEYS"}
    assert bare_console("key", "ls").err == "signatures: require\n"
    monkeypatch.setenv("TRTREG_SIGNATURES", "warn")
    assert bare_console("key", "ls").err == "signatures: warn\n"
    monkeypatch.setenv("TRTREG_SIGNATURES", "sometimes")
    assert "one of require, warn, off" in bare_console("ls").refused(2)


def test_doctor_shows_who_is_trusted_and_what_signs(
    bare_console: Console, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    parts = bare_console("doctor", "--json").json["parts"]
    assert parts["signatures"] == "off; no key is trusted"
    assert parts["signing key"].startswith("none")

    key = parse_key(bare_console("key", "new").line)
    (tmp_path / "trtreg-home" / "signing-key.pem").chmod(0o644)
    parts = bare_console("doctor", "--json").json["parts"]
    assert parts["signatures"] == f"require; {key.id}"
    assert parts["signing key"] == f"{key.id}; others can read it: chmod 600"

    (tmp_path / "trtreg-home" / "trusted.json").write_text("{")
    assert "trusted.json can't be read" in bare_console("doctor", "--json").json["parts"]["signatures"]


def test_old_records_are_refused_until_they_are_signed(bare_console: Console, built: Answer, tmp_path: Path) -> None:
    bare_console("key", "new")
    refused = bare_console("get", "tiny", "--no-build")
    assert "is unsigned" in refused.refused(7)
    assert "trtreg key sign" in refused.err

    dry = bare_console("key", "sign", "--dry-run")
    assert dry.line.startswith("would sign ")
    assert "models/tiny/00000001.json: it is sound" in dry.err
    assert bare_console("get", "tiny", "--no-build").code == 7
    assert bare_console("key", "sign").line.startswith("signed ")
    assert bare_console("key", "sign").line == "signed 0 records"

    assert bare_console("get", "tiny", "--no-build") == built


def test_what_came_unsigned_after_the_keys_is_signed_only_by_who_says_so(
    bare_console: Console, built: Answer, tmp_path: Path
) -> None:
    key = parse_key(bare_console("key", "new").line)
    bare_console("key", "sign")
    (pointer,) = (tmp_path / "trtreg-home" / "store").glob("manifests/*/blessed")
    content = split_record(pointer.read_bytes())[0]
    pointer.unlink()
    pointer.write_bytes(content)

    refused = bare_console("key", "sign")
    assert "signed by a trusted key" in refused.refused(2)
    assert "--all-unsigned" in refused.err
    assert bare_console("key", "sign", "--instead-of", key.id).code == 0
    assert pointer.read_bytes() == content

    assert bare_console("key", "sign", "--all-unsigned").line == "signed 1 records"
    assert bare_console("get", "tiny", "--no-build") == built


def test_what_is_not_sound_is_not_signed(bare_console: Console, built: Answer, tmp_path: Path) -> None:
    store = tmp_path / "trtreg-home" / "store"
    (manifest,) = store.glob("manifests/*/*.json")
    key, plan = manifest.parent.name, manifest.stem
    other = store / "manifests" / ("0" * 64)
    other.mkdir()
    (other / manifest.name).write_bytes(manifest.read_bytes())
    (other / f"{'1' * 64}.json").write_bytes(b"{}")
    (other / "blessed").write_text("2" * 64)
    (store / "unheard").mkdir()
    (store / "unheard" / "of").write_text("{}")
    bare_console("key", "new")

    signed = bare_console("key", "sign")

    assert signed.code == 7
    said = dict(line.split(": ", 1) for line in signed.err.splitlines() if not line.startswith(("error", "hint")))
    assert said[f"manifests/{'0' * 64}/{plan}.json"] == f"it is the manifest of key {key} and plan {plan}"
    assert "missing" in said[f"manifests/{'0' * 64}/{'1' * 64}.json"]
    assert "no manifest" in said[f"manifests/{'0' * 64}/blessed"]
    assert "doesn't know" in said["unheard/of"]
    assert bare_console("get", "tiny", "--no-build") == built


def test_a_manifest_whose_bytes_are_missing_is_not_signed(bare_console: Console, built: Answer, tmp_path: Path) -> None:
    plan = Path(built.line)
    for blob in (tmp_path / "trtreg-home" / "store" / "blobs").glob("*/*"):
        if blob.stat().st_size == plan.stat().st_size:
            blob.unlink()
    bare_console("key", "new")

    signed = bare_console("key", "sign")
    assert signed.code == 7
    assert f"the store lacks {plan.name}" in signed.err


def test_a_builder_that_can_not_sign_is_told_before_it_builds(
    bare_console: Console, built: Answer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare_console("key", "new")
    bare_console("key", "sign")
    (tmp_path / "trtreg-home" / "signing-key.pem").rename(tmp_path / "key.pem")

    for command in (["get", "tiny", "--fp16"], ["build", "tiny", "--fp16"]):
        refused = bare_console("--verbose", *command)
        assert "there is no key to sign with" in refused.refused(2)
        assert "rewriting" not in refused.err

    monkeypatch.setenv("TRTREG_SIGNING_KEY", str(tmp_path / "key.pem"))
    assert bare_console("--quiet", "get", "tiny", "--fp16").code == 0


def test_a_file_in_the_current_folder_does_not_go_round_signatures(
    bare_console: Console, built: Answer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another home would have other trusted keys, another cache would be full of engines that were never verified."""
    bare_console("key", "new")
    bare_console("key", "sign")
    strange = tmp_path / "strange"
    strange.mkdir()
    monkeypatch.chdir(strange)
    monkeypatch.delenv("TRTREG_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "xdg"))
    (tmp_path / "xdg").mkdir()
    (tmp_path / "trtreg-home").rename(tmp_path / "xdg" / "trtreg")
    for name in ("home", "cache"):
        (strange / "trtreg.toml").write_text(f'{name} = "here"\n')
        refused = bare_console("get", "tiny")
        assert "chooses home or the cache" in refused.refused(2)
        assert "trtreg.toml" in refused.err

    (strange / "trtreg.toml").write_text('home = "here"\n')
    monkeypatch.setenv("TRTREG_SIGNATURES", "off")
    assert bare_console("ls").code == 0


def test_the_file_in_home_itself_may_choose_the_cache(
    bare_console: Console, built: Answer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    bare_console("key", "new")
    bare_console("key", "sign")
    home = tmp_path / "trtreg-home"
    (home / "trtreg.toml").write_text('cache = "mine"\n')
    monkeypatch.chdir(home)

    assert bare_console("--quiet", "get", "tiny", "--no-build").line.startswith(str(home / "mine"))


def test_a_hit_under_the_same_trust_verifies_nothing(
    bare_console: Console, built: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    bare_console("key", "new")
    bare_console("key", "sign")
    bare_console("get", "tiny")
    script = """
import sys
from trtreg_cli import main
sys.argv = ["trtreg", "get", "tiny", "--offline"]
try:
    main.run()
finally:
    print(*sys.modules, file=sys.stderr)
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout == built.out
    assert not {m.partition(".")[0] for m in done.stderr.split()} & {"cryptography", "sqlalchemy", "numpy", "boto3"}


def test_a_new_key_takes_the_place_of_an_old_one(
    bare_console: Console, built: Answer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    old = parse_key(bare_console("key", "new").line)
    bare_console("key", "sign")
    new = bare_console("key", "new", "--output", tmp_path / "new.pem")
    monkeypatch.setenv("TRTREG_SIGNING_KEY", str(tmp_path / "new.pem"))
    assert bare_console("key", "sign").line == "signed 0 records"

    assert "isn't trusted" in bare_console("key", "sign", "--instead-of", "0" * 16).refused(2)
    assert bare_console("key", "sign", "--instead-of", old.id).line != "signed 0 records"
    bare_console("key", "distrust", old.id)

    assert parse_key(new.line).id in bare_console("key", "ls").out
    assert bare_console("get", "tiny", "--no-build") == built
