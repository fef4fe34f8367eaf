from __future__ import annotations

from fnmatch import fnmatchcase

from hypothesis import given
from hypothesis import strategies as st

from trtreg.core.bisection import Search, Unit, search_nodes, spelled

parts = st.sampled_from(["/model.0/conv/Conv", "/model.0/act/Mul", "/model.1/Conv", "/model.1/Add", "/model.24/Concat"])
operators_ = st.sampled_from(["Conv", "Mul", "Add", "Concat"])
networks = st.dictionaries(
    st.one_of(parts, st.text("abc/*", min_size=1, max_size=6)), operators_, min_size=1, max_size=24
)


@st.composite
def guilty(draw: st.DrawFn) -> tuple[dict[str, str], Unit]:
    """A network, and the nodes of it that must stay in fp32."""
    network = draw(networks)
    return network, frozenset(draw(st.lists(st.sampled_from(sorted(network)), min_size=1)))


@given(guilty())
def test_exactly_the_guilty_nodes_are_found(case: tuple[dict[str, str], Unit]) -> None:
    network, needed = case
    found = search_nodes(network, lambda kept: needed <= kept, 10_000)
    assert (found.nodes, found.smallest) == (needed, True)
    assert found.nodes <= found.blocks
    assert found.tests <= len(network) ** 2 + 3 * len(network) + 3


@given(guilty(), st.integers(1, 12))
def test_a_search_that_is_ended_has_found_a_set_that_passes(case: tuple[dict[str, str], Unit], most: int) -> None:
    network, needed = case
    found = search_nodes(network, lambda kept: needed <= kept, most)
    assert needed <= found.nodes
    assert found.tests <= most


@given(networks, st.sets(st.frozensets(st.integers(0, 5))))
def test_whatever_the_test_says_what_is_found_passes_it(network: dict[str, str], sets: set[Unit]) -> None:
    numbered = {name: place % 6 for place, name in enumerate(network)}

    def passes(kept: Unit) -> bool:
        return kept == frozenset(network) or frozenset(numbered[name] for name in kept) in sets

    assert passes(search_nodes(network, passes, 500).nodes)


def test_nothing_is_found_where_not_even_all_of_it_helps() -> None:
    found = search_nodes({"a": "Add", "b": "Mul"}, lambda kept: False, 100)
    assert (found.nodes, found.smallest, found.tests) == (frozenset(), False, 1)


def test_one_guilty_node_of_a_thousand_takes_few_tries() -> None:
    network = {f"/model.{number // 10}/op.{number}": "Conv" for number in range(1000)}
    found = search_nodes(network, lambda kept: "/model.77/op.777" in kept, 1000)
    assert found.nodes == {"/model.77/op.777"}
    assert len(found.blocks) == 10
    assert found.tests < 40


def test_nothing_is_tried_twice() -> None:
    tried = []

    def passes(kept: Unit) -> bool:
        tried.append(kept)
        return {"a", "d"} <= kept

    Search(passes, 100).smallest([frozenset(name) for name in "abcdef"])
    assert len(tried) == len(set(tried))


def meant(entries: tuple[str, ...], network: dict[str, str]) -> set[str]:
    """As a recipe's --keep-fp32 selects."""
    return {
        name
        for name, operator in network.items()
        if any(entry in (name, operator) or fnmatchcase(name, entry) for entry in entries)
    }


names = st.one_of(parts, st.text("abc", min_size=1, max_size=3).map("/x/{}".format))


@given(st.dictionaries(names, operators_, min_size=1), st.data())
def test_what_is_spelled_means_exactly_the_nodes(network: dict[str, str], data: st.DataObject) -> None:
    nodes = set(data.draw(st.lists(st.sampled_from(sorted(network)))))
    assert meant(spelled(nodes, network), network) == nodes


def test_a_whole_block_is_a_pattern_and_a_whole_operator_its_type() -> None:
    network = {
        "/model.24/Mul": "Mul",
        "/model.24/Add": "Add",
        "/model.1/Exp": "Exp",
        "/model.2/Exp": "Exp",
        "/model.3/Conv": "Conv",
    }
    assert spelled(set(network) - {"/model.3/Conv"}, network) == ("/model.24/*", "Exp")
    assert spelled({"/model.24/Mul"}, network) == ("/model.24/Mul",)
