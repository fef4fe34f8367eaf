"""What every catalog does, in memory as in SQLite and in PostgreSQL."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from catalog.examples import facts, manifest, sample, sha256
from trtreg.core.lifecycle import EngineState, may_follow
from trtreg.core.names import ModelName
from trtreg.core.recipe import Precision
from trtreg.errors import NotFound, UsageError
from trtreg.interfaces import Catalog

PUBLISHED, REJECTED = EngineState.PUBLISHED, EngineState.REJECTED


# --- versions --------------------------------------------------------------------------------------------------


def test_an_empty_catalog_has_nothing(catalog: Catalog) -> None:
    assert list(catalog.versions()) == []
    assert catalog.version(ModelName("yolov5s")) is None
    assert catalog.engines() == []


def test_a_version_comes_back_as_it_went_in(catalog: Catalog) -> None:
    added, is_new = catalog.add_version("yolov5s", facts(), note="from the hub", tags={"task": "detect"})
    assert is_new
    assert (added.name, added.version, added.facts) == ("yolov5s", 1, facts())
    assert (added.note, added.tags) == ("from the hub", {"task": "detect"})
    assert (added.aliases, added.samples, added.tolerance) == ((), (), {})
    assert catalog.version(ModelName("yolov5s", version=1)) == added


def test_times_are_utc(catalog: Catalog) -> None:
    before = datetime.now(UTC).replace(microsecond=0)
    added, _ = catalog.add_version("yolov5s", facts())
    catalog.record_engine(manifest(), PUBLISHED, bless=True)
    for shown in (added.added_at, catalog.engines()[0].created_at):
        time = datetime.fromisoformat(shown)
        assert shown.endswith("+00:00")
        assert before <= time <= datetime.now(UTC)


def test_other_contents_make_the_next_version(catalog: Catalog) -> None:
    numbers = [catalog.add_version("yolov5s", facts(c))[0].version for c in ("first", "second", "third")]
    assert numbers == [1, 2, 3]


def test_equal_contents_make_no_new_version(catalog: Catalog) -> None:
    catalog.add_version("yolov5s", facts())
    catalog.add_version("yolov5s", facts("second"))
    again, is_new = catalog.add_version("yolov5s", facts())
    assert (again.version, is_new) == (1, False)
    assert len(list(catalog.versions("yolov5s"))) == 2


def test_models_count_for_themselves_and_may_share_contents(catalog: Catalog) -> None:
    catalog.add_version("yolov5s", facts())
    other, is_new = catalog.add_version("copy", facts())
    assert (other.version, is_new) == (1, True)


def test_tags_and_a_note_are_added_to_a_version_that_is_there(catalog: Catalog) -> None:
    catalog.add_version("yolov5s", facts(), note="one", tags={"a": "1", "b": "1"})
    again, _ = catalog.add_version("yolov5s", facts(), note="two", tags={"b": "2", "c": "3"})
    assert (again.note, again.tags) == ("one\ntwo", {"a": "1", "b": "2", "c": "3"})
    once_more, _ = catalog.add_version("yolov5s", facts(), note="two")
    assert once_more == again


def test_a_bare_name_selects_the_newest_version(catalog: Catalog) -> None:
    catalog.add_version("yolov5s", facts())
    newest, _ = catalog.add_version("yolov5s", facts("second"))
    assert catalog.version(ModelName("yolov5s")) == newest


@pytest.mark.parametrize("number", [0, 2, 2**31, 2**64])
def test_a_version_that_is_not_there_is_none(catalog: Catalog, number: int) -> None:
    catalog.add_version("yolov5s", facts())
    assert catalog.version(ModelName("yolov5s", version=number)) is None
    assert catalog.version(ModelName("yolov5s", alias="prod")) is None
    assert catalog.version(ModelName("yolov5", version=1)) is None
    with pytest.raises(NotFound):
        catalog.set_alias("yolov5s", number, "prod")


def test_versions_are_listed_by_name_and_number(catalog: Catalog) -> None:
    for name in ("b", "B", "a-b", "ab", "a"):
        for content in ("first", "second"):
            catalog.add_version(name, facts(content))
    listed = [(v.name, v.version) for v in catalog.versions()]
    assert listed == sorted(listed)
    assert len(listed) == 10
    assert [str(v) for v in catalog.versions("ab")] == ["ab@1", "ab@2"]
    assert list(catalog.versions("absent")) == []


def test_a_removed_number_is_never_given_again(catalog: Catalog) -> None:
    for content in ("first", "second"):
        catalog.add_version("yolov5s", facts(content))
    for number in (2, 1):
        catalog.remove_version("yolov5s", number)
    assert catalog.version(ModelName("yolov5s")) is None
    assert list(catalog.versions()) == []
    assert catalog.add_version("yolov5s", facts("second"))[0].version == 3


def test_removing_what_is_not_there_is_not_found(catalog: Catalog) -> None:
    with pytest.raises(NotFound, match="yolov5s@1"):
        catalog.remove_version("yolov5s", 1)
    catalog.add_version("yolov5s", facts())
    with pytest.raises(NotFound, match="yolov5s@2"):
        catalog.remove_version("yolov5s", 2)


# --- aliases ---------------------------------------------------------------------------------------------------


def test_an_alias_selects_its_version_until_it_is_moved(catalog: Catalog) -> None:
    for content in ("first", "second"):
        catalog.add_version("yolov5s", facts(content))
    prod = ModelName("yolov5s", alias="prod")
    for number in (1, 2, 2):
        catalog.set_alias("yolov5s", number, "prod")
        found = catalog.version(prod)
        assert found is not None
        assert (found.version, found.aliases) == (number, ("prod",))
    assert [v.aliases for v in catalog.versions()] == [(), ("prod",)]


def test_aliases_are_sorted_and_belong_to_one_model(catalog: Catalog) -> None:
    for name in ("yolov5s", "other"):
        catalog.add_version(name, facts())
    for alias in ("prod", "beta", "Canary"):
        catalog.set_alias("yolov5s", 1, alias)
    assert [v.aliases for v in catalog.versions()] == [(), ("Canary", "beta", "prod")]
    assert catalog.version(ModelName("other", alias="prod")) is None


def test_an_alias_of_nothing_is_not_found(catalog: Catalog) -> None:
    with pytest.raises(NotFound):
        catalog.set_alias("yolov5s", 1, "prod")
    with pytest.raises(NotFound):
        catalog.remove_alias("yolov5s", "prod")
    catalog.add_version("yolov5s", facts())
    with pytest.raises(NotFound):
        catalog.remove_alias("yolov5s", "prod")


def test_a_version_that_an_alias_needs_stays(catalog: Catalog) -> None:
    catalog.add_version("yolov5s", facts())
    catalog.set_alias("yolov5s", 1, "prod")
    with pytest.raises(UsageError, match="yolov5s@prod"):
        catalog.remove_version("yolov5s", 1)
    catalog.remove_alias("yolov5s", "prod")
    assert catalog.version(ModelName("yolov5s", alias="prod")) is None
    catalog.remove_version("yolov5s", 1)


# --- samples and tolerances ------------------------------------------------------------------------------------


def test_samples_belong_to_their_version_and_go_with_it(catalog: Catalog) -> None:
    for content in ("first", "second"):
        catalog.add_version("yolov5s", facts(content))
    for name in ("street", "coco8"):
        catalog.add_sample("yolov5s", 1, sample(name))
    assert [v.samples for v in catalog.versions()] == [(sample("coco8"), sample("street")), ()]
    catalog.remove_version("yolov5s", 1)
    assert [v.samples for v in catalog.versions()] == [()]


def test_a_sample_of_the_same_name_must_be_the_same(catalog: Catalog) -> None:
    catalog.add_version("yolov5s", facts())
    for _ in range(2):
        catalog.add_sample("yolov5s", 1, sample("coco8"))
    with pytest.raises(UsageError, match="coco8"):
        catalog.add_sample("yolov5s", 1, sample("coco8", "other pictures"))
    with pytest.raises(NotFound):
        catalog.add_sample("yolov5s", 2, sample())


def test_tolerances_belong_to_all_versions_of_a_model(catalog: Catalog) -> None:
    with pytest.raises(NotFound):
        catalog.set_tolerance("yolov5s", {"cosine": 0.9})
    for content in ("first", "second"):
        catalog.add_version("yolov5s", facts(content))
    catalog.add_version("other", facts())
    catalog.set_tolerance("yolov5s", {"cosine": 0.9})
    catalog.set_tolerance("yolov5s", {"relative_l2": float("inf")})
    assert [v.tolerance for v in catalog.versions()] == [{}, *[{"relative_l2": float("inf")}] * 2]


def test_a_model_that_is_added_anew_inherits_no_tolerance(catalog: Catalog) -> None:
    catalog.add_version("yolov5s", facts())
    catalog.set_tolerance("yolov5s", {"cosine": -1.0})
    catalog.remove_version("yolov5s", 1)
    with pytest.raises(NotFound):
        catalog.set_tolerance("yolov5s", {"cosine": -1.0})
    assert catalog.add_version("yolov5s", facts())[0].tolerance == {}


# --- engines ---------------------------------------------------------------------------------------------------


def test_an_engine_comes_back_as_it_went_in(catalog: Catalog) -> None:
    large = manifest(size=5 * 2**40)
    catalog.record_engine(large, PUBLISHED, bless=True)
    (record,) = catalog.engines()
    assert (record.manifest, record.state, record.blessed) == (large, PUBLISHED, True)


def test_one_engine_of_a_key_is_blessed(catalog: Catalog) -> None:
    first, second = manifest(plan="first"), manifest(plan="second")
    other = manifest(model="other")
    for engine in (first, other, second):
        catalog.record_engine(engine, PUBLISHED, bless=True)
    assert {r.manifest.plan_digest for r in catalog.engines(key_prefix=first.key) if r.blessed} == {second.plan_digest}
    catalog.record_engine(first, PUBLISHED, bless=True)
    assert [r.manifest.plan_digest for r in catalog.engines(key_prefix=first.key) if r.blessed] == [first.plan_digest]
    assert [r.blessed for r in catalog.engines(key_prefix=other.key)] == [True]


def test_recording_without_blessing_takes_no_blessing_away(catalog: Catalog) -> None:
    catalog.record_engine(manifest(plan="first"), PUBLISHED, bless=True)
    catalog.record_engine(manifest(plan="second"), PUBLISHED, bless=False)
    catalog.record_engine(manifest(plan="first"), PUBLISHED, bless=False)
    assert [r.blessed for r in catalog.engines()] == [False, True]


@pytest.mark.parametrize("then", [EngineState.REJECTED, EngineState.REVOKED])
def test_what_is_withdrawn_is_no_longer_blessed(catalog: Catalog, then: EngineState) -> None:
    catalog.record_engine(manifest(), PUBLISHED, bless=True)
    catalog.record_engine(manifest(), then, bless=False)
    (record,) = catalog.engines()
    assert (record.state, record.blessed) == (then, False)


@pytest.mark.parametrize("state", [s for s in EngineState if s is not PUBLISHED])
def test_only_a_published_engine_is_blessed(catalog: Catalog, state: EngineState) -> None:
    with pytest.raises(UsageError, match=state.value):
        catalog.record_engine(manifest(), state, bless=True)
    assert catalog.engines() == []


def test_engines_take_the_steps_that_the_lifecycle_allows_and_no_other(catalog: Catalog) -> None:
    for now in EngineState:
        for then in EngineState:
            engine = manifest(plan=f"{now} {then}")
            catalog.record_engine(engine, now, bless=False)
            if may_follow(now, then):
                catalog.record_engine(engine, then, bless=False)
            else:
                with pytest.raises(UsageError, match=f"{now}.*{then}"):
                    catalog.record_engine(engine, then, bless=False)
            assert catalog.engines()[0].state is (then if may_follow(now, then) else now)


def test_the_manifest_recorded_last_is_kept(catalog: Catalog) -> None:
    first = manifest()
    later = manifest()
    object.__setattr__(later.provenance, "host", "another builder")
    catalog.record_engine(first, EngineState.UNPROVEN, bless=False)
    catalog.record_engine(later, PUBLISHED, bless=True)
    (record,) = catalog.engines()
    assert record.manifest.provenance.host == "another builder"
    assert (record.state, record.blessed) == (PUBLISHED, True)


def test_engines_are_found_newest_first(catalog: Catalog) -> None:
    recorded = [manifest(plan=str(i)) for i in range(5)]
    for engine in recorded:
        catalog.record_engine(engine, PUBLISHED, bless=False)
    # An old one that moves stays as old as it is.
    catalog.record_engine(recorded[0], REJECTED, bless=False)
    assert [r.manifest for r in catalog.engines()] == recorded[::-1]
    assert [r.manifest for r in catalog.engines(limit=2)] == recorded[:2:-1]
    assert catalog.engines(limit=0) == []


def test_engines_are_found_by_each_prefix_of_their_key(catalog: Catalog) -> None:
    recorded = [manifest(model=str(i)) for i in range(40)]
    for engine in recorded:
        catalog.record_engine(engine, PUBLISHED, bless=True)
    for length in (1, 2, 63, 64):
        prefix = recorded[7].key[:length]
        expected = {m.key for m in recorded if m.key.startswith(prefix)}
        assert {r.manifest.key for r in catalog.engines(key_prefix=prefix)} == expected
    assert catalog.engines(key_prefix="%") == []
    assert catalog.engines(key_prefix="not a key") == []


def test_engines_are_found_by_model_and_state(catalog: Catalog) -> None:
    for model in ("yolov5s", "resnet"):
        for precision, state in ((Precision.FP32, PUBLISHED), (Precision.FP16, REJECTED)):
            catalog.record_engine(manifest(model=model, precision=precision), state, bless=False)
    digest = sha256("yolov5s")
    assert {r.manifest.model_digest for r in catalog.engines(model_digest=digest)} == {digest}
    assert [r.state for r in catalog.engines(model_digest=digest)] == [REJECTED, PUBLISHED]
    (rejected,) = catalog.engines(model_digest=digest, state=REJECTED)
    assert rejected.manifest.recipe.precision is Precision.FP16
    assert len(catalog.engines(state=REJECTED)) == 2
    assert catalog.engines(model_digest=sha256("absent")) == []
