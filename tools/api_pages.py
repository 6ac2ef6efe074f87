"""docs/reference/api/: a page for each room, whose text mkdocstrings takes from the docstrings."""

from __future__ import annotations

import grimp

from tools.code_dependencies import ROOMS as PACKAGES
from tools.imports_picture import room_of

PURPOSES = {
    "augment.core": "files, seeds, processes, errors",
    "augment.faces": "the table of faces, its tensors, splits, duplicates, licences",
    "augment.networks": "layers, losses by equation, heatmaps",
    "augment.rig": "the embedded faces",
    "augment.sources": "a file for each data set",
    "augment.translators": "a file for each method, their base classes and the registry",
    "augment.prepare": "a data set becomes a table",
    "augment.parsing": "the face parsing network",
    "augment.synthesis": "synthetic faces, and which are kept",
    "augment.training": "the training loop of all translators",
    "classifiers": "arms, the judge, classical baselines",
    "reports": "tables, figures, intervals, the page",
    "reports.metrics": "FID, KID and the scores of translators",
    "reports.papers": "published figures",
    "pipeline": "profiles, and checks of a run and of data sets",
    "pipeline.core": "what stands around every stage: files, messages, records",
    "pipeline.parameters": "the sections of params.yaml",
    "pipeline.stages": "what each stage runs",
    "pipeline.photos": "translation of a user's photographs",
}


def modules_by_room() -> dict[str, list[str]]:
    """The public modules of every room, but for the command line, which has a page of its own."""
    rooms: dict[str, list[str]] = {room: [] for room in PURPOSES}
    for module in sorted(grimp.build_graph(*PACKAGES, cache_dir=None).modules):
        room = room_of(module)
        # Each stage is drawn apart where it has a file; here they share a page.
        room = "pipeline.stages" if room.startswith("pipeline.stages") else room
        private = module.rpartition(".")[2].startswith("_")
        if not private and room not in ("pipeline.cli", "pipeline.commands"):
            rooms.setdefault(room, []).append(module)
    return {room: modules for room, modules in rooms.items() if modules and room != "augment"}


def pages() -> dict[str, str]:
    """The pages by the names of their files."""
    rooms = modules_by_room()
    lines = ["# Python API", "", "A page for each room, from the docstrings. [How the rooms depend on each other]"]
    lines[-1] += "(../../architecture.md)."
    lines += ["", "| room | holds |", "| --- | --- |"]
    lines += [f"| [`{room}`]({room}.md) | {PURPOSES.get(room, '')} |" for room in rooms]
    texts = {"README.md": "\n".join(lines) + "\n"}
    for room, modules in rooms.items():
        blocks = [f"::: {module}" for module in modules]
        texts[f"{room}.md"] = "\n\n".join([f"# `{room}`: {PURPOSES.get(room, '')}", *blocks]) + "\n"
    return texts
