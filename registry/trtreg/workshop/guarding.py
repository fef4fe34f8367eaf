"""An engine's runs, with its failures told apart from everybody else's."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from trtreg.tasks.evaluation import EngineFailed
from trtreg.workshop.racing import as_taken

if TYPE_CHECKING:
    from trtreg.interfaces import Session, Tensor
    from trtreg.tasks.evaluation import Run

    Outputs = Mapping[str, Tensor]


def guarded(engine: Session, fits: Callable[[Outputs], bool] = lambda _: True) -> Run:
    """The engine's run, on inputs in the types that it takes. Whatever it raises, and outputs that `fits` refuses,
    become EngineFailed."""

    def run(inputs: Mapping[str, Tensor]) -> Outputs:
        try:
            outputs = engine.run(as_taken(inputs, engine))
        except Exception as error:  # noqa: BLE001 - the plan is what is on trial
            words = " ".join(str(error).split()) or type(error).__name__
            raise EngineFailed(f"the engine fails: {words}") from None
        if not fits(outputs):
            shapes = ", ".join(f"{name} [{'x'.join(map(str, array.shape))}]" for name, array in outputs.items())
            raise EngineFailed(f"the engine gives {shapes}")
        return outputs

    return run
