"""Plans that a fine-tune can be refitted from: kept in the store, by what they were made for and by their graph."""

from __future__ import annotations

from dataclasses import dataclass

from trtreg.core.builder_settings import Weights
from trtreg.core.digest import digest_of
from trtreg.core.files import FileSet
from trtreg.core.key import Key
from trtreg.core.layout import REFITS
from trtreg.core.recipe import Recipe
from trtreg.core.records import MalformedRecord, from_json, to_json
from trtreg.core.target import Target

REFIT_SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RefitSource:
    """A plan into which the weights of any model with its graph can be put.

    graph_digest  of the rewritten model that the plan was built from
    plan          stripped of its weights, or with those of that model
    key           of the engine that was made of it, by its own weights
    engine        that engine's plan digest. As long as it is published, the gate stands by this plan
    """

    graph_digest: str
    recipe: Recipe
    target: Target
    plan: FileSet
    key: Key
    engine: str
    schema: int = REFIT_SCHEMA

    @property
    def name(self) -> str:
        """Of its record in the store."""
        return f"{refit_prefix(self.recipe, self.target)}{self.graph_digest}.json"


def refit_prefix(recipe: Recipe, target: Target) -> str:
    """Where the store keeps what a plan of this recipe for this target may be refitted from."""
    return f"{REFITS}{digest_of('refit-source', {'recipe': recipe, 'target': target})}/"


def read_refit_source(text: bytes, name: str) -> RefitSource:
    """The source in the record `name`. Raises MalformedRecord, also for one that belongs under another name."""
    source = from_json(RefitSource, text)
    if source.schema != REFIT_SCHEMA:
        raise MalformedRecord(f"refit schema {source.schema}, while this trtreg reads {REFIT_SCHEMA}")
    if source.name != name:
        raise MalformedRecord(f"it belongs under {source.name}")
    return source


def write_refit_source(source: RefitSource) -> bytes:
    """Its canonical JSON."""
    return to_json(source).encode()


def refits(recipe: Recipe) -> bool:
    """Whether plans of this recipe are refitted from those of other models, and serve as sources themselves."""
    return recipe.builder.weights is not Weights.FIXED and not why_never(recipe)


def why_never(recipe: Recipe) -> str:
    """What keeps a plan of this recipe from taking another model's weights; empty for nothing."""
    if recipe.precision.is_calibrated:
        return f"the scales of {recipe.precision} follow the weights, and the plan is built around them"
    if recipe.builder.sparsity:
        return "sparse kernels are chosen by where the weights are zero"
    return ""
