"""An evaluation as one HTML file: no script, nothing from elsewhere, light or dark as the reader has it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from pathlib import Path

from trtreg.core.evaluation import BINS_PER_DECADE, CURVE_STEP, FIRST_DECADE, Evaluation, Row, ShownPicture
from trtreg.reporting.charts import Series, curves, histogram, mark, scatter
from trtreg.reporting.figures import columns, state_words
from trtreg.reporting.panels import panels, store

_POLICY = (
    '<meta http-equiv="Content-Security-Policy" '
    "content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">"
)
"""A browser may show styles and pictures of the page's own, and do nothing else."""
_STYLE = Path(__file__).with_name("page.css")
_FAR = 4.0
"""Times the spread of what is served."""
_HEADLINES = {"ap50": "AP50 (%)", "top1": "top-1 (%)"}


def page(evaluation: Evaluation, pictures: Mapping[str, bytes]) -> str:
    """The whole page. `pictures` has the JPEG of every picture that is shown, by its file's name."""
    title = f"{evaluation.model} on {evaluation.sample or 'drawn inputs'}"
    return "\n".join(
        (
            f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>',
            _POLICY,
            '<meta name="viewport" content="width=device-width, initial-scale=1">',
            f"<style>{_STYLE.read_text(encoding='utf-8')}</style></head><body>",
            store(evaluation.shown, pictures),
            f"<header><h1>{escape(title)}</h1><p>{escape(_about(evaluation))}</p></header><main>",
            _table(evaluation),
            *_plots(evaluation),
            *_errors(evaluation),
            *_pictures(evaluation),
            "</main></body></html>\n",
        )
    )


def _about(evaluation: Evaluation) -> str:
    setting = evaluation.setting
    words = [setting.inputs]
    words += [f"{setting.labels} labels, family {setting.family}"] if setting.task else []
    words += [setting.processors]
    words += [f"{name} {version}" for name, version in sorted(setting.versions.items())]
    return "; ".join(words)


# --- table -------------------------------------------------------------------------------------------------


def _table(evaluation: Evaluation) -> str:
    shown = columns(evaluation)
    head = "".join(f'<th scope="col"{_tip(column.tip)}>{escape(column.title)}</th>' for column in shown)
    lines = []
    for place, row in enumerate(evaluation.rows):
        cells = "".join(f"<td>{escape(column.cell(row))}</td>" for column in shown)
        name = f"{mark(place, hollow=not row.is_served)} {escape(row.name)}"
        lines.append(f'<tr><th scope="row">{name}<small>{_state(row)}</small></th>{cells}</tr>')
    caption = "All ran every input in turn in one process; times are from numpy's arrays to numpy's arrays."
    return (
        f'<section><div class="wide"><table><caption>{caption}</caption><thead><tr><th scope="col">contender</th>{head}'
        f"</tr></thead><tbody>{''.join(lines)}</tbody></table></div></section>"
    )


def _tip(words: str) -> str:
    return f' title="{escape(words)}"' if words else ""


def _state(row: Row) -> str:
    kind = "" if row.is_served else ' class="bad"'
    return f"<span{kind}>{escape(state_words(row))}</span>"


# --- plots -------------------------------------------------------------------------------------------------


def _plots(evaluation: Evaluation) -> Iterator[str]:
    headline = evaluation.setting.headline
    if not headline:
        return
    found = [
        Series(
            place=place,
            name=row.name,
            points=[(row.trial.run.p50, row.trial.figures[headline])],
            hollow=not row.is_served,
        )
        for place, row in enumerate(evaluation.rows)
        if row.trial and math.isfinite(row.trial.figures[headline])
    ]
    drawn, left_out = _on_one_scale(found)
    plots = []
    if drawn:
        chart = scatter("Accuracy against latency", "median of a run (ms)", _HEADLINES[headline], drawn)
        words = "Up and to the left is better; hollow marks aren't served."
        if left_out:
            named = ", ".join(f"{s.name} ({s.points[0][1]:.2f})" for s in left_out)
            words += f" Too far below to be drawn: {named}."
        plots.append(_plot("Accuracy against latency", chart, words))
    lines = [
        Series(place=place, name=row.name, points=[(i * CURVE_STEP, value) for i, value in enumerate(row.trial.curve)])
        for place, row in enumerate(evaluation.rows)
        if row.trial and row.trial.curve
    ]
    if lines:
        chart = curves("Precision over recall", "recall", "precision, mean of all classes", lines)
        plots.append(_plot("Precision and recall", chart, "At an overlap of 0.5; the area under it is AP50."))
    if plots:
        yield f'<section class="plots">{"".join(plots)}</section>'


def _on_one_scale(found: Sequence[Series]) -> tuple[list[Series], list[Series]]:
    """What can be told apart in one plot, and what lies so far below that all others would be one point."""
    served = [s.points[0][1] for s in found if not s.hollow]
    if not served:
        return list(found), []
    floor = min(served) - _FAR * max(max(served) - min(served), 1.0)
    return [s for s in found if s.points[0][1] >= floor], [s for s in found if s.points[0][1] < floor]


def _plot(title: str, chart: str, words: str) -> str:
    return f"<figure><h2>{escape(title)}</h2>{chart}<figcaption>{escape(words)}</figcaption></figure>"


# --- errors ------------------------------------------------------------------------------------------------


def _errors(evaluation: Evaluation) -> Iterator[str]:
    parts = list(dict.fromkeys(errors.output for trial in evaluation.trials for errors in trial.errors))
    if not parts:
        return
    yield (
        "<section><h2>How far outputs lie from the reference's</h2><p>Each value of an output against the same value "
        "of ONNX Runtime's run of the original, in the output's own units; an output that mixes units has a plot for "
        'each.</p><div class="plots">'
    )
    for part in parts:
        yield _errors_of(part, evaluation)
    yield "</div></section>"


def _errors_of(part: str, evaluation: Evaluation) -> str:
    places = {row.trial.name: place for place, row in enumerate(evaluation.rows) if row.trial}
    found = {trial.name: errors for trial in evaluation.trials for errors in trial.errors if errors.output == part}
    used = [i for errors in found.values() for i, share in enumerate(errors.shares) if share > 0]
    first, last = (min(used), max(used) + 1) if used else (0, BINS_PER_DECADE)
    # Whole decades, so that both ends have a number.
    first -= first % BINS_PER_DECADE
    last += -last % BINS_PER_DECADE
    decades = (FIRST_DECADE + first // BINS_PER_DECADE, FIRST_DECADE + last // BINS_PER_DECADE)
    series = [
        Series(
            place=places[name],
            name=name,
            points=[
                (decades[0] + i / BINS_PER_DECADE, 100 * share) for i, share in enumerate(errors.shares[first:last])
            ],
        )
        for name, errors in found.items()
        if any(errors.shares)
    ]
    chart = histogram(f"Errors of {part}", "absolute error", "share of the values (%)", series, decades=decades)
    lines = "".join(
        f'<tr><th scope="row">{mark(places[name])} {escape(name)}</th><td>{100 * errors.equal:.2f} %</td>'
        f"<td>{errors.mean:.3g}</td><td>{errors.largest:.3g}</td><td>{errors.nonfinite or ''}</td></tr>"
        for name, errors in found.items()
    )
    head = "".join(f'<th scope="col">{word}</th>' for word in ("", "the same", "mean", "largest", "no number"))
    return (
        f"<figure><h3>{escape(part)}</h3>{chart}"
        f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table></figure>"
    )


# --- pictures ----------------------------------------------------------------------------------------------


def _pictures(evaluation: Evaluation) -> Iterator[str]:
    shown = list(enumerate(evaluation.shown))
    specimen = [pair for pair in shown if not pair[1].differs]
    differing = [pair for pair in shown if pair[1].differs]
    if specimen:
        yield "<section><h2>The same picture, as each sees it</h2>"
        yield from _each(specimen, evaluation)
        yield "</section>"
    if differing:
        yield (
            "<section><h2>Where they differ most</h2><p>In an engine's pictures, broken lines are boxes that the "
            "reference hasn't, and dots those that the engine misses.</p>"
        )
        yield from _each(differing, evaluation)
        yield "</section>"


def _each(shown: Sequence[tuple[int, ShownPicture]], evaluation: Evaluation) -> Iterator[str]:
    for number, picture in shown:
        why = f": {picture.differs} differs" if picture.differs else ""
        yield f"<h3>{escape(picture.name + why)}</h3>"
        if evaluation.setting.task == "classification":
            yield f"<p>Labelled {escape(', '.join(map(evaluation.class_name, picture.labelled)))}.</p>"
        yield panels(number, picture, evaluation.class_name)
