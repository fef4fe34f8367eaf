"""What may be done to a model's record: whatever the order, it stays whole, and no number is given twice."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from catalog.examples import facts, sample
from trtreg.core.layout import model_name, parse_model_revision
from trtreg.core.model import Model, ModelVersion
from trtreg.core.names import ModelName, parse_model_name
from trtreg.core.records import MalformedRecord, from_json, to_json
from trtreg.core.sample import Pictures, Sample, Task
from trtreg.errors import NotFound, TrtregError, UsageError
from trtreg.storage.names import require_record_name

NOON = "2026-01-01T12:00:00+00:00"


def added(model: Model, content: str = "first", **more: object) -> Model:
    return model.add_version(facts(content), added_at=NOON, **more)  # type: ignore[arg-type]


def selected(model: Model, text: str) -> ModelVersion:
    found = model.select(parse_model_name(text))
    assert found is not None
    return found


@pytest.fixture
def empty() -> Model:
    return Model(name="yolov5s")


# --- versions ------------------------------------------------------------------------------------------------


def test_a_version_comes_back_as_it_went_in(empty: Model) -> None:
    model = added(
        empty,
        note="from the hub",
        tags={"task": "detect"},
        samples=[sample("street"), sample("coco8")],
        aliases=["prod", "beta"],
        tolerance={"cosine": 0.9},
    )
    assert model.all() == [
        ModelVersion(
            name="yolov5s",
            version=1,
            facts=facts(),
            added_at=NOON,
            note="from the hub",
            tags={"task": "detect"},
            aliases=("beta", "prod"),
            samples=(sample("coco8"), sample("street")),
            tolerance={"cosine": 0.9},
        )
    ]


def test_other_contents_make_the_next_version_and_equal_ones_none(empty: Model) -> None:
    model = added(added(empty), "second")
    assert [str(v) for v in model.all()] == ["yolov5s@1", "yolov5s@2"]
    assert added(model) == model
    assert added(model, aliases=["prod"]).aliases == {"prod": 1}


def test_tags_and_a_note_are_added_to_a_version_that_is_there(empty: Model) -> None:
    model = added(empty, note="one", tags={"a": "1", "b": "1"})
    again = added(model, note="two", tags={"b": "2", "c": "3"})
    (version,) = again.all()
    assert (version.note, version.tags) == ("one\ntwo", {"a": "1", "b": "2", "c": "3"})
    assert added(again, note="two") == again
    assert version.added_at == NOON


def test_all_that_is_said_of_a_version_is_one_change_or_none(empty: Model) -> None:
    model = added(empty, samples=[sample()])
    with pytest.raises(UsageError, match="coco8"):
        added(model, samples=[sample("street"), sample("coco8", "other pictures")], aliases=["prod"])
    assert model == added(empty, samples=[sample()])


def test_a_removed_number_is_never_given_again(empty: Model) -> None:
    model = added(added(empty), "second").remove_version(2).remove_version(1)
    assert model.all() == []
    assert [v.version for v in added(model, "second").all()] == [3]


@pytest.mark.parametrize("name", ["yolov5s@2", f"yolov5s@{2**64}", "yolov5s@prod", "yolov5s@0"])
def test_what_is_not_there_is_not_selected(empty: Model, name: str) -> None:
    assert added(empty).select(parse_model_name(name)) is None
    assert empty.select(ModelName("yolov5s")) is None


def test_a_bare_name_and_latest_select_the_newest(empty: Model) -> None:
    model = added(added(empty), "second")
    assert selected(model, "yolov5s") == selected(model, "yolov5s@latest") == selected(model, "yolov5s@2")


def test_a_version_that_an_alias_needs_stays(empty: Model) -> None:
    model = added(empty, aliases=["prod"])
    with pytest.raises(UsageError, match="yolov5s@prod"):
        model.remove_version(1)
    assert model.remove_alias("prod").remove_version(1).all() == []


def test_an_alias_selects_its_version_until_it_is_moved(empty: Model) -> None:
    model = added(added(empty, aliases=["prod"]), "second")
    assert selected(model, "yolov5s@prod").version == 1
    assert selected(model.set_alias("prod", 2), "yolov5s@prod").version == 2


def test_what_is_changed_must_be_there(empty: Model) -> None:
    for change in (
        lambda: empty.remove_version(1),
        lambda: empty.set_alias("prod", 1),
        lambda: empty.remove_alias("prod"),
        lambda: empty.add_sample(1, sample()),
        lambda: empty.set_tolerance({}),
    ):
        with pytest.raises(NotFound):
            change()


def test_a_model_that_is_added_anew_inherits_no_tolerance(empty: Model) -> None:
    model = added(empty).set_tolerance({"cosine": -1.0}).remove_version(1)
    assert added(model).tolerance == {}


def test_requirements_are_kept_in_their_shortest_form_and_each_once(empty: Model) -> None:
    model = added(empty).set_requirements(["top1>=75.0", "ap50 >= reference-1.0", "top1 >= 75"])
    assert model.requirements == ("ap50 >= reference - 1", "top1 >= 75")
    assert selected(model, "yolov5s").requirements == model.requirements
    assert from_json(Model, to_json(model)) == model


def test_what_is_no_requirement_is_refused_and_changes_nothing(empty: Model) -> None:
    with pytest.raises(ValueError, match="'ap50 is good' is no requirement"):
        added(empty).set_requirements(["ap50 is good"])


def test_a_model_that_is_added_anew_inherits_no_requirement(empty: Model) -> None:
    model = added(empty).set_requirements(["top1 >= 75"]).remove_version(1)
    assert added(model).requirements == ()


def test_two_models_that_become_one_have_the_requirements_of_both(empty: Model) -> None:
    ours = replace(added(empty).set_requirements(["top1 >= 75"]), revision=1)
    theirs = added(empty, "second").set_requirements(["latency <= 20"])
    assert ours.merge(theirs).requirements == ("latency <= 20", "top1 >= 75")


def test_a_sample_of_pictures_says_what_it_is_for(empty: Model) -> None:
    pictures = Pictures(task=Task.DETECTION, preprocess="letterbox:640", family="yolov5", count=128, labels=929)
    model = added(empty, samples=[replace(sample(), pictures=pictures)])
    assert from_json(Model, to_json(model)) == model
    assert [s.pictures for s in selected(model, "yolov5s").samples] == [pictures]


def test_a_sample_is_taken_away_from_its_version_alone(empty: Model) -> None:
    model = added(added(empty, samples=[sample()]), "second", samples=[sample()])
    assert [v.samples for v in model.remove_sample(1, "coco8").all()] == [(), (sample(),)]
    with pytest.raises(NotFound, match="yolov5s@1 has no sample 'street'"):
        model.remove_sample(1, "street")


def test_a_record_from_before_samples_of_pictures_reads_as_it_did(empty: Model) -> None:
    import json

    plain = json.loads(to_json(added(empty, samples=[sample()])))
    del plain["requirements"], plain["versions"][0]["samples"][0]["pictures"]
    assert from_json(Model, json.dumps(plain)) == added(empty, samples=[sample()])


# --- its record ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "broken",
    [
        {"name": "no/name"},
        {"aliases": {"prod": 2}},
        {"aliases": {"7": 1}},
        {"aliases": {"latest": 1}},
        {"last_version": 0},
        {"surprise": 1},
        {"requirements": ["ap50 is good"]},
        {"requirements": ["top1 >= 75.0"]},
        {"requirements": ["top1 >= 75", "ap50 >= 1"]},
    ],
    ids=str,
)
def test_a_record_that_contradicts_itself_is_malformed(empty: Model, broken: dict[str, object]) -> None:
    import json

    plain = json.loads(to_json(added(empty))) | broken
    with pytest.raises(MalformedRecord):
        from_json(Model, json.dumps(plain))


def test_versions_with_one_content_or_number_are_refused(empty: Model) -> None:
    (version,) = added(empty).versions
    for twin in (version, replace(version, number=2)):
        with pytest.raises(ValueError, match="version"):
            Model(name="yolov5s", last_version=2, versions=(version, twin))


_names = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", fullmatch=True)


@given(name=_names, revision=st.integers(1, 10**8 - 1))
def test_every_model_can_be_named_in_every_store(name: str, revision: int) -> None:
    record = model_name(name, revision)
    require_record_name(record)
    assert parse_model_revision(record) == (name, revision)


@given(st.lists(st.integers(1, 10**8 - 1), min_size=2, unique=True))
def test_the_names_of_revisions_are_ordered_as_the_revisions_are(revisions: list[int]) -> None:
    assert sorted(revisions) == [
        (parse_model_revision(n) or ("", 0))[1] for n in sorted(model_name("a", r) for r in revisions)
    ]


@pytest.mark.parametrize(
    "record", ["models/a/1.json", "models/a/00000001", "models/a/b/00000001.json", "models/00000001.json", "models/a/"]
)
def test_other_names_are_no_revisions(record: str) -> None:
    assert parse_model_revision(record) is None


# --- any order -----------------------------------------------------------------------------------------------

_numbers = st.integers(1, 4)
_words = st.sampled_from(["a", "b"])


class AnyOrder(RuleBasedStateMachine):
    """Whatever is done to it. `given` is what each number once meant."""

    def __init__(self) -> None:
        super().__init__()
        self.model = Model(name="yolov5s")
        self.given: dict[int, str] = {}

    @rule(
        content=_words,
        note=_words,
        tags=st.dictionaries(_words, _words),
        samples=st.lists(st.builds(sample, _words, _words), max_size=2),
        aliases=st.lists(_words),
    )
    def add_version(
        self, content: str, note: str, tags: dict[str, str], samples: list[Sample], aliases: list[str]
    ) -> None:
        self._try(
            lambda m: added(m, content, note=note, tags=tags, samples=samples, aliases=aliases, tolerance={"cosine": 1})
        )

    @rule(number=_numbers)
    def remove_version(self, number: int) -> None:
        self._try(lambda m: m.remove_version(number))

    @rule(number=_numbers, alias=_words)
    def set_alias(self, number: int, alias: str) -> None:
        self._try(lambda m: m.set_alias(alias, number))

    @rule(alias=_words)
    def remove_alias(self, alias: str) -> None:
        self._try(lambda m: m.remove_alias(alias))

    @rule(number=_numbers, label=_words, content=_words)
    def add_sample(self, number: int, label: str, content: str) -> None:
        self._try(lambda m: m.add_sample(number, sample(label, content)))

    @invariant()
    def its_record_is_itself(self) -> None:
        assert from_json(Model, to_json(self.model)) == self.model

    @invariant()
    def every_alias_selects_a_version(self) -> None:
        for alias in self.model.aliases:
            assert alias in selected(self.model, f"yolov5s@{alias}").aliases

    @invariant()
    def no_number_has_two_meanings(self) -> None:
        for version in self.model.all():
            assert self.given.setdefault(version.version, version.facts.digest) == version.facts.digest
            assert selected(self.model, str(version)) == version

    def _try(self, change) -> None:  # type: ignore[no-untyped-def]
        before, last = to_json(self.model), self.model.last_version
        try:
            after = change(self.model)
        except TrtregError:
            after = self.model
        assert to_json(self.model) == before
        assert after.last_version >= last
        self.model = after


TestAnyOrder = AnyOrder.TestCase
