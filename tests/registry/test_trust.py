"""A thief who may write to the store, and what he can't do: every engine that nobody trusted stands for is refused,
with its reason, before any runtime sees a byte of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from registry.conftest import Told, add
from registry.test_quarantine import elsewhere
from small_models import write_classifier
from storage.signers import OURS, THEIRS, Key
from trtreg.catalog.sql import SqlCatalog
from trtreg.core.names import parse_model_name
from trtreg.core.request import Request
from trtreg.core.retention import Policy
from trtreg.core.trust import Trailer, signed_message, split_record
from trtreg.errors import BadSignature, Miss, NotFound, UnknownSigner, Unproven, Unsigned, Untrusted, UsageError
from trtreg.probing import Chosen
from trtreg.registry import Registry
from trtreg.wiring import wiring
from trtreg.wiring.keeper import Keeper
from trtreg.wiring.keys import new_key


@dataclass(frozen=True)
class World:
    """A farm that builds and signs, and what lies in its store."""

    folder: Path
    farm: Registry
    word: str
    key: str
    other: str

    @property
    def store(self) -> Path:
        return self.folder / "farm" / "store"

    def pointer(self, key: str) -> Path:
        return self.store / "manifests" / key / "blessed"

    def manifest(self, key: str, folder: str = "manifests") -> Path:
        (path,) = (self.store / folder / key).glob("*.json")
        return path

    def reader(
        self,
        trusted: str | None = None,
        *,
        told: Told | None = None,
        choose: Callable[..., Chosen] | None = None,
        **more: str,
    ) -> Registry:
        """A machine that trusts the farm's key, or those given, and has none of its own."""
        flags = {
            "home": str(self.folder / "reader"),
            "catalog": f"sqlite:///{self.folder}/farm/catalog.db",
            "store": str(self.store),
            "trusted_keys": self.word if trusted is None else trusted,
            **more,
        }
        settings = wiring.settings({name: value for name, value in flags.items() if value})
        return wiring.open_registry(settings=settings, progress=told or Told(), choose=choose)

    def is_untouched(self) -> bool:
        """Whether no plan has come to the reader."""
        return not list((self.folder / "reader" / "cache").glob("**/plans/*"))


def overwrite(path: Path, content: bytes) -> None:
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def sign_again(path: Path, store: Path, key: Key) -> None:
    """The record as another key would have written it."""
    content, name = split_record(path.read_bytes())[0], str(path.relative_to(store))
    overwrite(path, content + Trailer(key.public.id, key.sign(signed_message(name, content))).written())


@pytest.fixture
def world(tmp_path: Path) -> World:
    settings = wiring.settings({"home": str(tmp_path / "farm")})
    word = new_key(settings, None)[0].public.word
    farm = wiring.open_registry(settings=settings, progress=Told())
    add(farm, "tiny", write_classifier(tmp_path / "tiny.onnx"))
    add(farm, "other", write_classifier(tmp_path / "other.onnx", seed=1))
    return World(tmp_path, farm, word, farm.build(request("tiny")).key, farm.build(request("other")).key)


def request(name: str) -> Request:

    return Request(model=parse_model_name(name))


def test_what_the_farm_has_signed_is_served_to_who_trusts_it(world: World) -> None:
    assert world.reader().get("tiny", build=False).source == "store"
    assert world.reader().get("tiny", offline=True).source == "cache"


def test_every_record_that_the_farm_wrote_is_signed(world: World) -> None:
    records = [p for p in world.store.rglob("*") if p.is_file() and "blobs" not in p.parts]

    assert len(records) >= 4
    assert all(split_record(p.read_bytes())[1] for p in records)


# --- what a thief puts into the store ----------------------------------------------------------------------

Theft = Callable[[World], None]


def unsigned_pointer(world: World) -> None:
    overwrite(world.pointer(world.key), split_record(world.pointer(world.key).read_bytes())[0])


def unsigned_manifest(world: World) -> None:
    path = world.manifest(world.key)
    overwrite(path, split_record(path.read_bytes())[0])


def thiefs_pointer(world: World) -> None:
    sign_again(world.pointer(world.key), world.store, THEIRS)


def thiefs_manifest(world: World) -> None:
    sign_again(world.manifest(world.key), world.store, THEIRS)


def pointer_of_another_key(world: World) -> None:
    overwrite(world.pointer(world.key), world.pointer(world.other).read_bytes())


def manifest_of_another_key(world: World) -> None:
    overwrite(world.manifest(world.key), world.manifest(world.other).read_bytes())


def manifest_and_pointer_of_another_key(world: World) -> None:
    other = world.manifest(world.other)
    overwrite(world.manifest(world.key).with_name(other.name), other.read_bytes())
    pointer_of_another_key(world)


def rejected_as_published(world: World) -> None:
    path = world.manifest(world.key)
    record = path.read_bytes()
    content, trailer = split_record(record)
    forged = content.replace(b'"verdict":"passed"', b'"verdict":"passes"')
    assert trailer
    overwrite(path, forged + trailer.written())


def another_digest(world: World) -> None:
    """The plan's bytes are the thief's, and the manifest names them."""
    path = world.manifest(world.key)
    content, trailer = split_record(path.read_bytes())
    record = json.loads(content)
    old = record["plan"]["files"][0]["sha256"]
    assert trailer
    overwrite(path, content.replace(old.encode(), b"0" * 64) + trailer.written())


THEFTS: list[tuple[Theft, type[Untrusted], str]] = [
    (unsigned_pointer, Unsigned, "blessed in .* is unsigned"),
    (unsigned_manifest, Unsigned, "json in .* is unsigned"),
    (thiefs_pointer, UnknownSigner, f"signed by the key {THEIRS.public.id}"),
    (thiefs_manifest, UnknownSigner, f"signed by the key {THEIRS.public.id}"),
    (pointer_of_another_key, BadSignature, "copied from another name"),
    (manifest_of_another_key, BadSignature, "copied from another name"),
    (manifest_and_pointer_of_another_key, BadSignature, "copied from another name"),
    (rejected_as_published, BadSignature, "doesn't fit its signature"),
    (another_digest, BadSignature, "doesn't fit its signature"),
]


@pytest.mark.parametrize(("theft", "error", "said"), THEFTS, ids=lambda value: getattr(value, "__name__", None))
def test_what_a_thief_wrote_is_refused_with_its_reason_and_nothing_is_fetched(
    world: World, theft: Theft, error: type[Untrusted], said: str
) -> None:
    theft(world)

    with pytest.raises(error, match=said) as refused:
        world.reader().get("tiny", build=False)

    assert refused.value.exit_code == 7
    assert world.is_untouched()


@pytest.mark.parametrize(
    ("theft", "error"),
    [(unsigned_manifest, Unsigned), (thiefs_manifest, UnknownSigner), (another_digest, BadSignature)],
)
def test_the_gate_loads_no_plan_that_nobody_stands_for(world: World, theft: Theft, error: type[Untrusted]) -> None:
    theft(world)

    with pytest.raises(error):
        world.farm.judge_again(world.key)
    with pytest.raises(error):
        wiring.open_bencher(wiring.settings({"home": str(world.folder / "farm")})).bench([world.key])


def test_other_bytes_under_the_plans_names_are_refused(world: World) -> None:
    file = world.farm.engine(world.key).manifest.plan.files[0]
    blob = world.store / "blobs" / file.sha256[:2] / file.sha256
    content = bytearray(blob.read_bytes())
    content[-1] ^= 1
    overwrite(blob, bytes(content))

    with pytest.raises(Untrusted, match="SHA-256") as refused:
        world.reader().get("tiny", build=False)

    assert refused.value.exit_code == 7
    assert world.is_untouched()


@pytest.mark.parametrize("theft", [unsigned_pointer, thiefs_manifest])
def test_who_only_warns_is_served_and_told(world: World, theft: Theft) -> None:
    theft(world)
    told = Told()

    assert world.reader(told=told, signatures="warn").get("tiny", build=False).source == "store"

    assert len([line for line in told.lines if line.startswith("warning: manifests/")]) == 1


def test_who_does_not_look_is_still_not_given_another_keys_engine(world: World) -> None:
    manifest_and_pointer_of_another_key(world)

    with pytest.raises(Untrusted, match="is the manifest of key"):
        world.reader(signatures="off").get("tiny", build=False)


def test_a_rebuild_puts_a_signed_engine_in_the_place_of_a_thiefs(world: World) -> None:
    thiefs_pointer(world)
    thiefs_manifest(world)

    world.farm.build(request("tiny"), rebuild=True)

    assert world.reader().get("tiny", build=False).source == "store"


def test_a_listing_is_not_believed_when_a_plan_is_to_be_loaded(world: World) -> None:
    """The catalog is signed by nobody: the gate goes by the store's record."""
    shutil.rmtree(world.store / "manifests" / world.key)

    with pytest.raises(Exception, match="the store has no record of"):
        world.reader().judge_again(world.key)


# --- the catalog --------------------------------------------------------------------------------------------


def test_what_the_gate_goes_by_is_read_from_the_store_whatever_the_catalog_says(world: World) -> None:
    """Tolerance, samples and source: what it then signs rests on them."""
    catalog = SqlCatalog(f"sqlite:///{world.folder}/farm/catalog.db")
    true = catalog.model("tiny")
    assert true
    facts = replace(true.versions[0].facts, source=true.versions[0].facts.source, opset=1)
    lies = replace(
        true, tolerance={"relative_l2": 1000.0}, versions=(replace(true.versions[0], facts=facts, note="!"),)
    )
    catalog.index_model(lies)
    catalog.index_model(replace(lies, name="planted"))

    for registry in (world.farm, world.reader()):
        version = registry.models.source_of(registry.engine(world.key).manifest)
        assert version
        assert (str(version), dict(version.tolerance), version.note) == ("tiny@1", {}, "")
        assert version.facts.opset != 1


def test_a_model_that_only_the_catalog_knows_is_signed_by_who_says_so_and_not_by_a_get(world: World) -> None:
    """Anybody who may write to the database could have put it there."""
    settings = wiring.settings({"home": str(world.folder / "farm")})
    catalog = SqlCatalog(settings.catalog)
    true = catalog.model("tiny")
    assert true
    planted = replace(true, name="planted", revision=0)
    catalog.index_model(planted)
    told = Told()
    farm = wiring.open_registry(settings=settings, progress=told)

    with pytest.raises(NotFound) as unknown:
        farm.get("planted")
    assert "trtreg store rebuild-catalog --adopt" in unknown.value.hint
    assert {v.name for v in farm.models.all()} == {"other", "tiny"}
    assert len([line for line in told.lines if "only the catalog knows planted" in line]) == 1
    with pytest.raises(UsageError, match="only the catalog knows planted"):
        add(farm, "planted", world.folder / "tiny.onnx")
    with pytest.raises(UsageError, match="only the catalog knows planted"):
        Keeper(settings, told).prune(Policy(), grace=0, alone=True, dry_run=False)
    assert wiring.rebuild_catalog(settings=settings).unstored == ("planted",)
    assert catalog.model("planted") == planted
    assert not (world.store / "models" / "planted").exists()

    assert wiring.rebuild_catalog(settings=settings, adopt=True).unstored == ()
    assert world.reader().models.find(parse_model_name("planted")).version == 1
    catalog.index_model(replace(planted, name="another"))
    assert wiring.rebuild_catalog(settings=settings, adopt=False).forgotten == 1
    assert catalog.model("another") is None


# --- the cache ----------------------------------------------------------------------------------------------


def without_blobs(world: World) -> None:
    shutil.rmtree(world.store / "blobs")


def test_a_cached_engine_is_verified_again_under_other_keys_and_not_fetched_again(world: World) -> None:
    before = world.reader(trusted="", signatures="off").get("tiny", build=False)
    without_blobs(world)

    verified = world.reader().get("tiny", build=False)

    assert (before.source, verified.source) == ("store", "store")
    assert before.path == verified.path
    assert world.reader().get("tiny", build=False).source == "cache"
    assert world.reader(f"{world.word} {OURS.public.word}").get("tiny", build=False).source == "store"
    assert world.reader(trusted="", signatures="off").get("tiny", build=False).source == "cache"


def test_a_cached_engine_of_a_key_that_is_not_trusted_any_more_is_refused(world: World) -> None:
    world.reader().get("tiny", build=False)

    with pytest.raises(UnknownSigner):
        world.reader(OURS.public.word).get("tiny", build=False)


def test_the_manifest_in_the_cache_is_the_one_that_was_verified(world: World) -> None:
    """Where signatures were off, a thief's report came in with the right plan; it doesn't stay."""
    path = world.manifest(world.key)
    true = path.read_bytes()
    overwrite(path, split_record(true)[0].replace(b'"host":"', b'"host":"thief-'))
    assert world.reader(trusted="", signatures="off").get("tiny", build=False).manifest.provenance.host[:5] == "thief"
    overwrite(path, true)
    without_blobs(world)

    world.reader().get("tiny", build=False)

    assert world.reader().get("tiny", offline=True).manifest.provenance.host[:5] != "thief"


def test_offline_what_was_never_verified_is_refused_with_a_way_out(world: World) -> None:
    world.reader(trusted="", signatures="off").get("tiny", build=False)

    with pytest.raises(Untrusted, match="was verified under other trusted keys, or none") as refused:
        world.reader().get("tiny", offline=True)

    assert "without --offline" in refused.value.hint
    assert world.reader().explain(request("tiny")).answer == "store"
    with pytest.raises(Miss):
        world.reader().get("other", offline=True)


def test_an_unproven_plan_is_verified_as_a_proven_one_is(world: World) -> None:
    settings = wiring.settings({"home": str(world.folder / "farm")})
    farm = wiring.open_registry(settings=settings, progress=Told(), choose=elsewhere("alpha"))
    with pytest.raises(Unproven):
        farm.get("tiny")
    here = elsewhere("alpha")
    with pytest.warns(UserWarning, match="never run"):
        engine = world.reader(choose=here).get("tiny", build=False, allow_unproven=True)
    with pytest.warns(UserWarning, match="never run"):
        world.reader(choose=here).get("tiny", offline=True, allow_unproven=True)

    others = f"{world.word} {OURS.public.word}"
    with pytest.raises(Untrusted, match="under other trusted keys"):
        world.reader(others, choose=here).get("tiny", offline=True, allow_unproven=True)
    sign_again(world.manifest(engine.key, "unproven"), world.store, THEIRS)
    with pytest.raises(UnknownSigner, match="unproven/"):
        world.reader(others, choose=here).get("tiny", build=False, allow_unproven=True)


# --- names ----------------------------------------------------------------------------------------------------


def test_a_models_record_under_another_models_name_is_refused(world: World) -> None:
    models = world.store / "models"
    (newest,) = sorted((models / "other").iterdir())[-1:]
    for old in (models / "tiny").iterdir():
        overwrite(old, newest.read_bytes())

    with pytest.raises(BadSignature, match="copied from another name"):
        world.reader().get("tiny", build=False)


def test_an_alias_is_not_taken_back_unnoticed(world: World) -> None:
    """The old revision is signed, too: who has read the newer one knows better."""
    add(world.farm, "tiny", world.folder / "tiny.onnx", aliases=["prod"])
    add(world.farm, "tiny", write_classifier(world.folder / "newer.onnx", seed=2), aliases=["prod"])
    prod = parse_model_name("tiny@prod")
    assert world.reader().models.find(prod).version == 2
    sorted((world.store / "models" / "tiny").iterdir())[-1].unlink()

    with pytest.raises(Untrusted, match="this machine has read"):
        world.reader().models.find(prod)
    assert world.reader(cache=str(world.folder / "fresh")).models.find(prod).version == 1


def test_an_alias_that_was_asked_for_before_the_newer_revision_is_not_taken_back_either(world: World) -> None:
    """What was noted of the older revision fits the store again; that the newer one was read is known all the same."""
    add(world.farm, "tiny", world.folder / "tiny.onnx", aliases=["prod"])
    prod = parse_model_name("tiny@prod")
    assert world.reader().models.find(prod).version == 1
    add(world.farm, "tiny", write_classifier(world.folder / "newer.onnx", seed=2))
    assert world.reader().models.find(parse_model_name("tiny")).version == 2
    sorted((world.store / "models" / "tiny").iterdir())[-1].unlink()

    with pytest.raises(Untrusted, match="this machine has read"):
        world.reader().models.find(prod)
