"""The store alone is enough: to get an engine, and to make the catalog again."""

from __future__ import annotations

import re
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from cli.conftest import Answer, Console
from conftest import Bucket
from small_models import write_classifier, write_sample, write_vanishing
from test_imports import HEAVY
from trtreg.catalog import migration

NO_CATALOG = "sqlite:////dev/null/catalog.db"
_LISTINGS = (("ls", "--json"), ("model", "ls", "--json"), ("ls", "tiny"), ("ls", "--state", "rejected"), ("ls",))


@pytest.fixture
def own(bare_console: Console, tmp_path: Path) -> Console:
    """In a home of the test's own, which knows `tiny`."""

    def console(*arguments: str | Path) -> Answer:
        return bare_console("--quiet", "--home", tmp_path / "home", *arguments)

    console("model", "add", "tiny", write_classifier(tmp_path / "tiny.onnx"), "--alias", "prod")
    return console


@pytest.fixture
def catalog(tmp_path: Path) -> Path:
    return tmp_path / "home" / "catalog.db"


def _listed(console: Console) -> list[str]:
    answers = [console(*listing) for listing in _LISTINGS]
    assert all(a.code == 0 for a in answers)
    # A row's number is its place in this index, and another in the next.
    return [re.sub(r'"number":[0-9]+', "", a.out) for a in answers]


def _execute(catalog: Path, *statements: str) -> None:
    with closing(sqlite3.connect(catalog, isolation_level=None)) as connection:
        for statement in statements:
            connection.execute(statement)


# --- get without a catalog -----------------------------------------------------------------------------------


def test_an_engine_in_the_store_is_had_without_a_catalog_and_without_a_word(
    own: Console, bare_console: Console, tmp_path: Path
) -> None:
    own("get", "tiny@prod")
    reader = ("--home", tmp_path / "reader", "--store", tmp_path / "home" / "store", "--catalog", NO_CATALOG)

    for source in ("store", "cache"):
        answer = bare_console(*reader, "get", "tiny@prod", "--no-build", "--json")
        assert (answer.code, answer.err, answer.json["source"]) == (0, "", source)
    assert not list((tmp_path / "reader").glob("catalog*"))


def test_a_bucket_that_may_only_be_read_is_enough(bare_console: Console, tmp_path: Path, bucket: Bucket) -> None:
    place = bucket.place("alone")
    builder = ("--home", tmp_path / "builder", "--store", place)
    first, second = (write_classifier(tmp_path / f"{seed}.onnx", seed=seed) for seed in (0, 1))
    assert bare_console(*builder, "model", "add", "tiny", first, "--alias", "prod").code == 0
    built = bare_console("--quiet", *builder, "get", "tiny@prod", "--json").json
    reader = ("--home", tmp_path / "reader", "--catalog", NO_CATALOG, "--store", f"{place}&readonly=1")

    for source in ("store", "cache"):
        answer = bare_console(*reader, "get", "tiny@prod", "--no-build", "--json")
        assert (answer.code, answer.err) == (0, "")
        assert (answer.json["source"], answer.json["key"]) == (source, built["key"])

    assert bare_console(*builder, "model", "add", "tiny", second).code == 0
    assert bare_console(*builder, "model", "alias", "tiny@2", "prod").code == 0
    assert bare_console(*reader, "get", "tiny@prod", "--json").json["key"] == built["key"]
    moved = bare_console(*reader, "get", "tiny@prod", "--refresh", "--no-build").refused(3)
    assert "no engine of tiny@2" in moved
    assert "tiny@2" in bare_console(*reader, "get", "tiny@prod", "--offline").refused(3)
    assert bare_console(*reader, "get", "tiny@1", "--offline", "--json").json["key"] == built["key"]


def test_a_builder_without_a_catalog_is_warned_and_has_its_engine(
    own: Console, bare_console: Console, tmp_path: Path
) -> None:
    built = bare_console("--home", tmp_path / "home", "--catalog", NO_CATALOG, "get", "tiny", "--fp16")

    assert built.code == 0
    warning = built.err.splitlines()[-1]
    assert warning.startswith("warning: the catalog doesn't list the engine")
    assert "/dev/null/catalog.db" in warning
    assert warning.endswith("trtreg store rebuild-catalog")
    assert own("ls", "--json").json == []
    assert own("store", "rebuild-catalog").line == "1 models, 1 versions, 1 engines"
    assert len(own("ls", "--json").json) == 1


def test_models_are_listed_without_a_catalog_and_changed_with_a_warning(
    own: Console, bare_console: Console, tmp_path: Path
) -> None:
    bare = ("--home", tmp_path / "home", "--catalog", NO_CATALOG)

    assert bare_console(*bare, "model", "alias", "tiny@1", "beta").line == "tiny@beta is tiny@1"
    listed = bare_console(*bare, "model", "ls", "--json")
    assert listed.json[0]["aliases"] == ["beta", "prod"]
    assert listed.err.startswith("warning: listed without the catalog")
    assert own("model", "ls", "--json").json == listed.json


def test_a_hit_imports_nothing_heavy(own: Console, tmp_path: Path) -> None:
    own("get", "tiny@prod")
    program = (
        "import sys, click; from trtreg_cli.main import cli;"
        "cli.main(['--home', sys.argv[1], 'get', 'tiny@prod'], standalone_mode=False); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, tmp_path / "home"], capture_output=True, text=True, check=True
    )
    path, modules = done.stdout.splitlines()

    loaded = {module.partition(".")[0] for module in modules.split()}
    assert Path(path).is_file()
    assert not loaded & (HEAVY | {"sqlite3", "cryptography", "random", "tempfile"})
    # A miss's, an upload's and a bound's business: each costs milliseconds that every hit would pay.
    others = "catalog.sql core.lease core.manifest core.sizes models.indexing publishing"
    others += " making.leasing making.making making.producing"
    assert not {f"trtreg.{name}" for name in others.split()} & set(modules.split())


# --- the catalog made again ----------------------------------------------------------------------------------


def test_a_catalog_that_is_lost_is_made_again_with_nothing_missing(own: Console, catalog: Path, tmp_path: Path) -> None:
    sample = write_sample(tmp_path / "real.npz")
    own("model", "add", "tiny", write_classifier(tmp_path / "two.onnx", seed=1), "--sample", f"real={sample}")
    own("model", "add", "vanishing", write_vanishing(tmp_path / "vanishing.onnx"), "--note", "nothing in fp16")
    own("model", "tolerance", "tiny", "cosine=0.5")
    for name, precision, *more in (
        ("tiny@1", "--fp16"),
        ("tiny", "--fp32"),
        ("tiny", "--fp16", "--keep-fp32", "MatMul"),
        ("tiny@1", "--fp32", "--rebuild"),
    ):
        assert own("get", name, precision, *more).code == 0
    own("get", "vanishing", "--fp16").refused(5)
    own("revoke", own("get", "tiny@1", "--fp16", "--json").json["key"], "--why", "wrong boxes")
    before = _listed(own)
    assert {r["state"] for r in own("ls", "--json").json} == {"published", "rejected", "revoked"}

    catalog.unlink()
    said = "2 models, 3 versions, 5 engines"
    rebuilt = own("store", "rebuild-catalog")
    assert (rebuilt.line, rebuilt.err) == (said, "")
    assert _listed(own) == before

    content = catalog.read_bytes()
    assert own("store", "rebuild-catalog").line == said
    assert _listed(own) == before
    assert len(content) == len(catalog.read_bytes())
    assert own("db", "check").code == 0


def test_rebuilding_mends_what_is_wrong_and_forgets_what_the_store_does_not_know(own: Console, catalog: Path) -> None:
    own("get", "tiny", "--fp16")
    own("get", "tiny", "--fp32")
    before = _listed(own)
    _execute(
        catalog,
        "INSERT INTO models (name, last_version, tolerance, revision) VALUES ('gone', 3, '{}', 9)",
        "UPDATE versions SET facts = '{'",
        "UPDATE engines SET manifest = '{', state = 'rejected', blessed = 0 WHERE precision = 'fp16'",
        "UPDATE engines SET plan_digest = replace(plan_digest, '0', '1') WHERE precision = 'fp32'",
    )
    assert own("ls").code == 7

    rebuilt = own("store", "rebuild-catalog")

    assert rebuilt.line == "1 models, 1 versions, 2 engines; 2 that the store doesn't know are forgotten"
    assert _listed(own) == before


def test_damaged_records_are_named_and_the_others_are_listed(own: Console, catalog: Path, tmp_path: Path) -> None:
    own("model", "add", "other", write_classifier(tmp_path / "two.onnx", seed=1))
    kept = own("get", "tiny", "--fp16", "--json").json["key"]
    lost = own("get", "tiny", "--fp32", "--json").json["key"]
    (manifest,) = (tmp_path / "home" / "store" / "manifests" / lost).glob("*.json")
    model = tmp_path / "home" / "store" / "models" / "other" / "00000001.json"
    for record in (manifest, model):
        content = record.read_bytes()
        record.unlink()
        record.write_bytes(content.replace(b"x86_64", b"x86_65").replace(b'"revision":1', b'"revision":2'))
    catalog.unlink()

    rebuilt = own("store", "rebuild-catalog")

    assert rebuilt.code == 7
    assert rebuilt.out == "1 models, 1 versions, 1 engines\n"
    assert sum(str(p.relative_to(tmp_path / "home" / "store")) in rebuilt.err for p in (manifest, model)) == 2
    assert rebuilt.err.splitlines()[-2] == "error: 2 records in the store are damaged and were skipped"
    assert [r["manifest"]["key"] for r in own("ls", "--json").json] == [kept]


# --- a catalog from before -----------------------------------------------------------------------------------


def test_where_signatures_count_what_the_catalog_alone_knows_is_stored_by_who_says_so(
    own: Console, catalog: Path, tmp_path: Path
) -> None:
    models = tmp_path / "home" / "store" / "models"
    models.rename(tmp_path / "as it was")
    migration.downgrade(f"sqlite:///{catalog}", "0001")
    own("key", "new")

    assert "rebuild-catalog --adopt" in own("get", "tiny@prod").err
    left = own("store", "rebuild-catalog")
    assert (left.code, models.exists()) == (0, False)
    assert "left alone: only the catalog knows tiny, and nobody has signed that" in left.err

    assert own("store", "rebuild-catalog", "--adopt").line == "1 models, 1 versions, 0 engines"
    assert own("get", "tiny@prod").code == 0


@pytest.mark.parametrize("first", [("get", "tiny@prod"), ("model", "ls"), ("store", "rebuild-catalog"), ()], ids=str)
def test_a_catalog_that_knew_the_models_alone_loses_none(
    own: Console, catalog: Path, tmp_path: Path, first: tuple[str, ...]
) -> None:
    own("model", "add", "tiny", write_classifier(tmp_path / "two.onnx", seed=1), "--note", "the better one")
    own("get", "tiny@prod")
    before = _listed(own)
    models = tmp_path / "home" / "store" / "models"
    models.rename(tmp_path / "as it was")
    migration.downgrade(f"sqlite:///{catalog}", "0001")

    if first:
        assert own(*first).code == 0
    else:
        assert own("model", "add", "tiny", write_classifier(tmp_path / "three.onnx", seed=2)).line == "tiny@3"
        assert own("model", "rm", "tiny@3").code == 0

    assert models.is_dir()
    assert _listed(own) == before
    catalog.unlink()
    own("store", "rebuild-catalog")
    assert _listed(own) == before
