"""Whether every translator translates, at one small budget, by the word of a classifier that none of them ever met.

Each translator is trained by the one loop, by its recipe for a CPU (`conf/recipe/NAME.yaml`), on embedded faces, 48 px
and grey; no validation, so that the last averaged weights are what counts. Then it translates test faces of people whom
it never saw. The judge here is another one than a run's: it learned from many other embedded people, no translator is
chosen by it, and beside what it recognises after the translation stands what it takes the same faces for before. Faces
are the default run's kind; translators that turn faces to the front have faces with profiles.

    python -m benchmarks.translators run lssl stargan
    python -m benchmarks.translators run lssl --set settings.width=8 training.steps=100
    python -m benchmarks.translators cost
    python -m benchmarks.translators gallery
    python -m benchmarks.translators table

Everything is computed with one thread. Runs with `--set`, `--steps` or `--seed` are experiments: they have folders of
their own and no row in the table. Recipes were found on the people of seed 0; `--people 1`, with an `--out` of its own,
trains and tests on others.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import click
import pandas as pd
import torch
from PIL import Image

from augment.core.errors import InputError, Problem
from augment.core.files import atomic_path, atomic_write_bytes, atomic_write_text
from augment.core.seeding import derive_seed
from augment.faces.tensors import FaceTensors
from augment.training.fingerprint import run_fingerprint
from augment.training.loop import train_translator
from augment.training.samples import sample_sheet
from augment.training.settings import TrainingSettings
from augment.translators import load_translator, translator_class
from augment.translators.base import DISCRIMINATOR, CannotTranslateError, LearnedTranslator, Translator
from benchmarks.translator_bench import (
    JUDGE_FACES,
    ROOT,
    SIZE,
    key_of,
    open_bench,
    parse_overrides,
    recipe,
    recipes,
    score,
    translate_test_faces,
)
from benchmarks.translator_page import results_page, translation_rows, with_figures
from reports.environment import describe_environment

RECIPE_PARTS = {"method", "settings", "training"}

# A run


def run_one(
    name: str, overrides: Mapping[str, Any], *, out: Path, cache: Path, people: int, seed: int, again: bool
) -> tuple[Path, dict[str, Any]]:
    """Trains and scores by one recipe, unless that was done before.

    Returns:
        The run's folder and what its result.json holds.
    """
    entry, bench = recipe(name, overrides), open_bench(name, cache, people)
    about = {
        "name": name,
        **entry.model_dump(mode="json", include=RECIPE_PARTS),
        "seed": seed,
        "faces": {"name": bench.name, "source": bench.source, "size": SIZE, "key": bench.faces_key},
        "judge": {"faces": JUDGE_FACES, "key": bench.judge_key, "accuracy": bench.judge_accuracy},
    }
    key = key_of({part: about[part] for part in ("method", "settings", "training", "seed")}, bench.faces_key)
    experiment = bool(overrides) or seed != 0
    out = out / "experiments" / f"{name}-{key}" if experiment else out / name
    file = out / "result.json"
    if file.is_file() and not again:
        result = json.loads(file.read_text(encoding="utf-8"))
        if result["key"] == key and result["judge"]["key"] == bench.judge_key:
            click.echo(f"{name} ran before, with the code of that time; --again trains anew", err=True)
            return out, result
    file.unlink(missing_ok=True)
    if again:
        shutil.rmtree(out / "checkpoints", ignore_errors=True)
    translator = bench.create(entry.method, entry.settings, seed)
    train, test = bench.faces["train"], bench.faces["test"]
    # Checkpoints lie apart by all that they depend on, so that none of an older recipe or of older code is in the way.
    mark = run_fingerprint(translator, train, None, entry.training, seed, torch.device("cpu"))
    scratch = out / "checkpoints" / key_of(mark)
    began = time.process_time()
    trained = train_translator(translator, train, None, entry.training, out=out, scratch=scratch, seed=seed)
    # Of the one thread; what to compare on a busy machine. A resumed run's is not known.
    processor_seconds = None if trained.resumed_from else time.process_time() - began
    facts = json.loads((out / "training.json").read_text(encoding="utf-8"))
    learned = isinstance(translator, LearnedTranslator)
    result = {
        "key": key,
        **about,
        **score(translate_test_faces(translator, test, bench.judge, seed), test.class_names),
        "seconds": facts["seconds"],
        "processor_seconds": processor_seconds,
        "steps": facts["steps"],
        "milliseconds_a_step": 1000 * (processor_seconds or facts["seconds"]) / facts["steps"] if learned else None,
        "parameters": facts.get("parameters"),
        "torch": torch.__version__,
        "environment": describe_environment("cpu, one thread"),
    }
    atomic_write_text(file, json.dumps(result, indent=1) + "\n")
    shutil.rmtree(out / "checkpoints")
    return out, result


def describe(result: Mapping[str, Any]) -> str:
    before, after, difference = result["untranslated"], result["translated"], result["difference"]
    parts = [
        f"{result['name']}: recognition {before['recognition']:.3f} -> {after['recognition']:.3f}"
        f" (difference {difference['value']:+.3f}, 95 % {difference['low']:+.3f} .. {difference['high']:+.3f})",
        f"probability {before['probability']:.3f} -> {after['probability']:.3f}",
        f"identity shift {result['identity_shift']:.4f}",
        f"{result['seconds']:.0f} s of training"
        + (f" ({processor:.0f} s of processor time)" if (processor := result.get("processor_seconds")) else ""),
    ]
    if result["milliseconds_a_step"] is not None:
        counts = result["parameters"]
        parts += [
            f"{result['milliseconds_a_step']:.0f} ms a generator step",
            f"parameters G {counts['generator']:,} D {counts['discriminator']:,}",
        ]
    classes = [f"{name} {before['per_class'][name]:.2f} -> {value:.2f}" for name, value in after["per_class"].items()]
    if result["faces"]["name"] == "turned":
        parts.insert(1, f"the sources' simulated faces {result['simulated']['recognition']:.3f}")
    return "; ".join(parts) + "\n  " + ", ".join(classes)


# What a step costs


class TookTooLong(Exception):
    """A measurement ran over its limit."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Ends the block with TookTooLong after so much processor time; main thread, POSIX."""

    def stop(number: int, frame: Any) -> None:
        raise TookTooLong

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def parameter_count(parameters: Iterable[torch.nn.Parameter]) -> int:
    return sum(parameter.numel() for parameter in parameters)


def step_milliseconds(
    translator: LearnedTranslator, train: FaceTensors, settings: TrainingSettings, steps: int
) -> float:
    """Processor time of a generator step with its discriminator steps, the mean of `steps`, over all phases.

    The loop runs for one step a phase and for `steps` more, so that what comes once a run cancels; what comes once a
    process (kernels that are chosen) is left to a run before. It is the mean of whole rounds and not a median, since
    terms that come every fourth step are part of the price.
    """
    seconds, least = [], len(translator.phases())
    for count in (least, least, steps + least):
        short = settings.model_copy(update={"steps": count, "sample_every": 10**6, "sample_faces": 1})
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder)
            began = time.process_time()
            train_translator(translator, train, None, short, out=out, scratch=out / "scratch", seed=0)
            seconds.append(time.process_time() - began)
    return 1000 * (seconds[2] - seconds[1]) / steps


def images_per_second(translator: Translator, faces: FaceTensors, count: int = 64) -> float:
    """Translated faces per second of processor time, the median of three calls after one to warm up."""
    usable = translator.usable_sources(faces)
    sources = faces.take(torch.nonzero(usable)[:, 0][:count])
    targets = sources.labels if translator.keeps_class else (sources.labels + 1) % len(faces.class_names)
    seconds = []
    with torch.no_grad():
        for _ in range(4):
            began = time.process_time()
            translator.eval().translate(sources, targets, torch.Generator().manual_seed(0))
            seconds.append(time.process_time() - began)
    return len(sources) / statistics.median(seconds[1:])


def cost_of(name: str, cache: Path, *, published: bool, limit: float) -> dict[str, Any]:
    """A row of the table of costs; `note` says why a figure is missing."""
    entry, bench = recipe(name), open_bench(name, cache)
    train, test = bench.faces["train"], bench.faces["test"]
    # Published settings with one discriminator step a generator step, as the recipes have it, to compare methods.
    training = TrainingSettings(batch_size=8, discriminator_steps=1) if published else entry.training
    row: dict[str, Any] = {
        "name": name,
        "method": entry.method,
        "settings": "published" if published else "recipe",
        "generator_parameters": None,
        "discriminator_parameters": None,
        "batch": None,
        "milliseconds_a_step": None,
        "images_per_second": None,
    }
    notes = []
    try:
        translator = bench.create(entry.method, {} if published else entry.settings)
        if isinstance(translator, LearnedTranslator):
            counts = {name: parameter_count(parameters) for name, parameters in translator.networks().items()}
            row["discriminator_parameters"] = counts.pop(DISCRIMINATOR, None)
            row["generator_parameters"] = sum(counts.values())
            row["batch"] = training.batch_size
            steps = 2 if published else 16
            try:
                with at_most(limit):
                    row["milliseconds_a_step"] = step_milliseconds(translator, train, training, steps)
            except TookTooLong:
                notes.append(f"the steps take more than {limit:.0f} s")
        else:
            with tempfile.TemporaryDirectory() as folder:
                out = Path(folder)
                fitted = train_translator(translator, train, None, training, out=out, scratch=out, seed=0)
            notes.append(f"fitted in {fitted.seconds:.1f} s")
        try:
            with at_most(limit):
                row["images_per_second"] = images_per_second(translator, test)
        except TookTooLong:
            notes.append(f"256 faces take more than {limit:.0f} s")
    except (InputError, CannotTranslateError, ValueError) as error:
        notes.append(str(error))
    return {**row, "note": "; ".join(notes) or None}


# What is shown


def finished_results(out: Path) -> list[dict[str, Any]]:
    """What finished runs wrote, in the order of the recipes; experiments are left out, and runs of older recipes."""
    found = []
    for name in recipes():
        file = out / name / "result.json"
        if not file.is_file():
            continue
        result = json.loads(file.read_text(encoding="utf-8"))
        today = recipe(name).model_dump(mode="json", include=RECIPE_PARTS)
        if today == {part: result[part] for part in today}:
            found.append(result)
        else:
            click.echo(f"{name} ran by another recipe than today's and is left out; run it again", err=True)
    if not found:
        raise InputError(Problem(str(out), "holds no finished run", "run some translators first"))
    return found


def gallery_rows(translator: Translator, faces: FaceTensors, count: int) -> FaceTensors:
    """Faces of different subjects, as far as there are any of different classes."""
    usable = torch.nonzero(translator.usable_sources(faces))[:, 0].tolist()
    chosen: list[int] = []
    for new_class in (True, False):
        for position in usable:
            subjects = {faces.subjects[other] for other in chosen}
            classes = {int(faces.labels[other]) for other in chosen} if new_class else set()
            known = faces.subjects[position] in subjects or int(faces.labels[position]) in classes
            if len(chosen) < count and not known:
                chosen.append(position)
    return faces.take(chosen)


def small_png(png: bytes, most_bytes: int = 80_000) -> bytes:
    """The sheet at three quarters of its size, with as many colours as fit: a repository keeps it for ever."""
    with Image.open(io.BytesIO(png), formats=("PNG",)) as sheet:
        smaller = sheet.convert("RGB").resize((sheet.width * 3 // 4, sheet.height * 3 // 4), Image.Resampling.LANCZOS)
    for colours in (64, 48, 32, 24, 16):
        buffer = io.BytesIO()
        few = smaller.quantize(colours, method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
        few.save(buffer, format="PNG", optimize=True)
        if len(buffer.getvalue()) <= most_bytes:
            break
    return buffer.getvalue()


def write_csv(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    # convert_dtypes keeps counts whole where a row lacks them.
    with atomic_path(path) as scratch:
        pd.DataFrame(rows).convert_dtypes().to_csv(scratch, index=False, float_format="%.5g")


# The command


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Shows for every translator, at one small budget, that it translates."""


Command = TypeVar("Command", bound=Callable[..., Any])


def folder_option(name: str, default: str, text: str) -> Callable[[Command], Command]:
    return click.option(
        name,
        type=click.Path(file_okay=False, path_type=Path),
        default=ROOT / default,
        help=f"{text}  [default: {default}]",
    )


out_option = folder_option("--out", "artifacts/benchmarks/translators", "Where runs lie.")
cache_option = folder_option("--cache", "artifacts/benchmarks/cache", "Where faces and judge are kept.")
gallery_option = folder_option("--sheets", "docs/translators", "Where the galleries go.")
results_option = folder_option("--results", "docs/results/translators", "Where the tables go.")


@main.command()
@click.argument("names", nargs=-1, required=True)
@out_option
@cache_option
@click.option("--set", "changes", multiple=True, metavar="KEY=VALUE", help="Such as settings.width=8; more may follow.")
@click.option("--steps", type=int, help="The same as training.steps=N.")
@click.option("--seed", default=0, show_default=True, help="Of weights, batches and translation.")
@click.option("--people", default=0, show_default=True, help="Seed of the people; recipes were found on those of 0.")
@click.option("--again", is_flag=True, help="Train anew where this was done before, and forget checkpoints.")
def run(
    names: tuple[str, ...],
    out: Path,
    cache: Path,
    changes: tuple[str, ...],
    steps: int | None,
    seed: int,
    people: int,
    again: bool,
) -> None:
    """Train and score by the recipes NAMES. A killed run goes on; a finished one is not repeated."""
    try:
        overrides = parse_overrides([*changes, *(name for name in names if "=" in name)])
        if steps is not None:
            overrides["training.steps"] = steps
        torch.set_num_threads(1)
        wanted = [name for name in names if "=" not in name]
        for name in wanted:
            recipe(name, overrides)
        for name in wanted:
            folder, result = run_one(name, overrides, out=out, cache=cache, people=people, seed=seed, again=again)
            click.echo(f"{describe(result)}\n  {folder}")
    except (InputError, CannotTranslateError) as error:
        raise click.ClickException(str(error)) from error


@main.command()
@click.argument("names", nargs=-1)
@cache_option
@results_option
@click.option("--limit", default=20.0, show_default=True, help="Seconds after which a measurement is given up.")
def cost(names: tuple[str, ...], cache: Path, results: Path, limit: float) -> None:
    """Measure what a step and a face cost on one core, by recipe and with the published settings."""
    torch.set_num_threads(1)
    rows: list[dict[str, Any]] = []
    for name in names or recipes():
        method = recipe(name).method
        rows.append(cost_of(name, cache, published=False, limit=limit))
        click.echo(json.dumps(rows[-1]))
        # Recipes that are variants of one method share its published settings.
        measured = any(row["method"] == method and row["settings"] == "published" for row in rows)
        if issubclass(translator_class(method), LearnedTranslator) and not measured:
            rows.append(cost_of(name, cache, published=True, limit=limit))
            click.echo(json.dumps(rows[-1]))
    # Rows of others stay, in the order of the recipes.
    kept: Any = pd.read_csv(results / "cost.csv").to_dict("records") if (results / "cost.csv").is_file() else []
    mine = {cost_key(row) for row in rows}
    order = list(recipes())
    rows = sorted(
        [*rows, *(row for row in kept if cost_key(row) not in mine)], key=lambda row: order.index(row["name"])
    )
    write_csv(rows, results / "cost.csv")


def cost_key(row: Mapping[str, Any]) -> tuple[str, str]:
    """What a row of costs is of: a recipe, or a method with its published settings."""
    published = row["settings"] == "published"
    return ("published", row["method"]) if published else ("recipe", row["name"])


@main.command()
@out_option
@results_option
@gallery_option
@click.option(
    "--page",
    type=click.Path(dir_okay=False, path_type=Path),
    default=ROOT / "docs" / "reference" / "translators.md",
    help="Whose figures are written anew.  [default: docs/reference/translators.md]",
)
def table(out: Path, results: Path, sheets: Path, page: Path) -> None:
    """Write the figures of all finished runs, and the costs where they were measured."""
    try:
        found = finished_results(out)
    except InputError as error:
        raise click.ClickException(str(error)) from error
    write_csv(translation_rows(found), results / "translation.csv")
    costs = results / "cost.csv"
    rows: Any = pd.read_csv(costs).to_dict("records") if costs.is_file() else []
    gallery = Path(os.path.relpath(sheets, results)).as_posix() if sheets.is_dir() else ""
    atomic_write_text(results / "README.md", results_page(found, rows, gallery))
    atomic_write_text(page, with_figures(page.read_text(encoding="utf-8"), found, rows))
    click.echo(f"{len(found)} translators: {results / 'README.md'}")


@main.command("gallery")
@click.argument("names", nargs=-1)
@out_option
@cache_option
@gallery_option
@click.option("--faces", default=4, show_default=True, help="Rows of a sheet.")
def draw_gallery(names: tuple[str, ...], out: Path, cache: Path, sheets: Path, faces: int) -> None:
    """Draw test faces, translated to every class by the weights of finished runs."""
    torch.set_num_threads(1)
    try:
        for result in finished_results(out):
            name, people = result["name"], result["faces"]["source"]["seed"]
            if names and name not in names:
                continue
            translator = load_translator(out / name / "weights.safetensors")
            rows = gallery_rows(translator, open_bench(name, cache, people).faces["test"], faces)
            png = small_png(sample_sheet(translator, rows, torch.Generator().manual_seed(derive_seed(0, "gallery"))))
            atomic_write_bytes(sheets / f"{name}.png", png)
            click.echo(f"{sheets / name}.png: {len(png) / 1000:.0f} KB")
    except InputError as error:
        raise click.ClickException(str(error)) from error


if __name__ == "__main__":
    main()
