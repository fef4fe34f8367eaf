"""Which few nodes must stay in fp32 so that a recipe passes: the search, and what it found.

The search is delta debugging (Zeller's ddmin): of a set that passes, halves, quarters and so on are tried alone, then
all but one of them, until no part can be left out. It knows nothing of networks, and needs no order among the nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence, Set
from dataclasses import dataclass
from itertools import pairwise

Unit = frozenset[str]
Passes = Callable[[Unit], bool]


@dataclass(frozen=True, slots=True, kw_only=True)
class Suspect:
    """A node whose result is further from the original's than the tolerance allows.

    place   which of its results, or which columns of it: `conv_out`, `boxes[..., 4-84]`
    strain  how many times the allowed deviation
    """

    node: str
    operator: str
    place: str
    relative_l2: float
    strain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Bisection:
    """What was found of one recipe.

    reasons   why the rewritten model fails as the recipe stands; empty if it passes, and nothing was searched
    first     the first node beyond tolerance, in the order in which they compute; None if each alone is within it
    beyond    how many nodes are
    compared  of how many
    keep      what to keep in fp32, as --keep-fp32 takes it, besides what the recipe keeps already
    nodes     the nodes that this means
    blocks    the whole blocks of the network that were found first: more than is needed, and more of a margin, as the
              smallest set only just passes
    left      why the model would still fail on all cases; empty if it passes
    smallest  whether none of the nodes can be left out; else the search was ended
    tests     how many rewritten models were tried
    cases     how many runs each was judged by
    """

    precision: str
    reasons: tuple[str, ...]
    first: Suspect | None
    beyond: int
    compared: int
    keep: tuple[str, ...]
    nodes: tuple[str, ...]
    blocks: tuple[str, ...]
    left: tuple[str, ...]
    smallest: bool
    tests: int
    cases: int


class Search:
    """Tries sets of nodes, each once, and no more than `most` of them."""

    def __init__(self, passes: Passes, most: int) -> None:
        self._passes, self._most = passes, most
        self._known: dict[Unit, bool] = {}

    @property
    def tests(self) -> int:
        return len(self._known)

    @property
    def is_over(self) -> bool:
        """Whether no more may be tried."""
        return self.tests >= self._most

    def passes(self, nodes: Unit) -> bool:
        """False for what can't be tried any more."""
        if nodes not in self._known:
            if self.is_over:
                return False
            self._known[nodes] = self._passes(nodes)
        return self._known[nodes]

    def smallest(self, units: Sequence[Unit]) -> tuple[list[Unit], bool]:
        """A part of `units`, which together pass, that passes too; and whether none of it can be left out."""
        kept, pieces = list(units), 2
        while len(kept) > 1:
            parts = _split(kept, pieces)
            # The last first: a network's trouble is mostly near its end, where units mix.
            alone = next((part for part in reversed(parts) if self.passes(_union(part))), None)
            if alone is not None:
                kept, pieces = alone, 2
                continue
            without = ([unit for other in parts if other is not part for unit in other] for part in parts)
            rest = next((rest for rest in without if self.passes(_union(rest))), None)
            if rest is not None:
                kept, pieces = rest, max(pieces - 1, 2)
                continue
            if pieces >= len(kept) or self.is_over:
                break
            pieces = min(2 * pieces, len(kept))
        return kept, not self.is_over


def _split(units: list[Unit], pieces: int) -> list[list[Unit]]:
    pieces = min(pieces, len(units))
    edges = [len(units) * number // pieces for number in range(pieces + 1)]
    return [units[a:b] for a, b in pairwise(edges)]


def _union(units: Sequence[Unit]) -> Unit:
    return frozenset().union(*units)


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """The nodes to keep, and the blocks that they were found in; empty if not even all nodes pass. `smallest` says
    whether none can be left out."""

    nodes: Unit
    blocks: Unit
    smallest: bool
    tests: int


def search_nodes(operators: dict[str, str], passes: Passes, most: int) -> Found:
    """Look for nodes that suffice, with at most so many tests.

    operators  of the nodes that may be kept, by name, in the order in which they compute

    Whole blocks of the network are tried first (`/model.24/…`), then operator types within them, then single nodes.
    """
    search = Search(passes, most)
    everything = frozenset(operators)
    if not search.passes(everything):
        return Found(nodes=frozenset(), blocks=frozenset(), smallest=False, tests=search.tests)
    kept, smallest, stages = everything, False, list[Unit]()
    for grouped in (_block, lambda name: operators[name], lambda name: name):
        units: dict[str, set[str]] = {}
        for name in operators:
            if name in kept:
                units.setdefault(grouped(name), set()).add(name)
        found, smallest = search.smallest([frozenset(unit) for unit in units.values()])
        kept = _union(found)
        stages.append(kept)
    return Found(nodes=kept, blocks=stages[0], smallest=smallest, tests=search.tests)


def _block(name: str) -> str:
    """The first part of a path as PyTorch's exporter writes it; the name itself where it is none."""
    first, slash, _ = name.removeprefix("/").partition("/")
    return first if slash else name


def spelled(nodes: Set[str], operators: dict[str, str]) -> tuple[str, ...]:
    """`nodes` as --keep-fp32 takes them: a whole block as a pattern, all nodes of an operator as its type, the rest
    by name. Nothing that is among `operators` and not in `nodes` is meant."""
    blocks: dict[str, set[str]] = {}
    kinds: dict[str, set[str]] = {}
    for name, operator in operators.items():
        if _block(name) != name and not set("*?[") & set(_block(name)):
            prefix = name[: name.index(_block(name))] + _block(name)
            blocks.setdefault(f"{prefix}/*", set()).add(name)
        kinds.setdefault(operator, set()).add(name)
    entries: list[str] = []
    left = set(nodes)
    for entry, meant in [*sorted(blocks.items()), *sorted(kinds.items())]:
        if len(meant) > 1 and meant <= set(nodes) and meant & left:
            entries.append(entry)
            left -= meant
    return (*entries, *sorted(left))
