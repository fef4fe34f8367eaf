"""How models are named."""

from __future__ import annotations

import pytest

from trtreg.core.names import ModelName, parse_model_name, require_alias


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("yolov5s", ModelName("yolov5s")),
        ("yolov5s@3", ModelName("yolov5s", version=3)),
        ("yolov5s@prod", ModelName("yolov5s", alias="prod")),
        ("yolov5s@latest", ModelName("yolov5s", alias="latest")),
        ("a.b-c_1@2", ModelName("a.b-c_1", version=2)),
    ],
)
def test_a_name_is_read_as_it_is_written(text: str, name: ModelName) -> None:
    assert parse_model_name(text) == name
    assert str(name) == text


@pytest.mark.parametrize("text", ["", "@3", "a@", "a b", "../a", "a/b", "a@b@c", "-a", "a" * 101, "ä", "a@-1", "a\n"])
def test_a_name_that_is_none_is_refused_with_the_rule(text: str) -> None:
    with pytest.raises(ValueError, match="it takes 1 to 100"):
        parse_model_name(text)


@pytest.mark.parametrize("alias", ["3", "007", "latest"])
def test_an_alias_can_not_look_like_what_selects_by_itself(alias: str) -> None:
    with pytest.raises(ValueError, match="can't be an alias"):
        require_alias(alias)
