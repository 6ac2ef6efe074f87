"""docs/imports.svg: which room imports which, computed from the code by grimp.

Rooms are the packages within augment/ and reports/, the command line, the folder of photographs, each stage, and what
is left of each top-level package. An arrow that follows from others is not drawn (transitive reduction): where A
imports B and B imports C, A may import C too. The matrix beside the picture has them all.
"""

from __future__ import annotations

from collections.abc import Mapping
from xml.sax.saxutils import escape

import grimp

from pipeline.core.stage_names import STAGES
from tools.code_dependencies import ROOMS as PACKAGES

COLOURS = {"augment": "#dbeafe", "classifiers": "#dcfce7", "reports": "#fef3c7", "pipeline": "#f3e8ff"}
WIDTH, HEIGHT, GAP_X, GAP_Y, MARGIN = 132, 34, 22, 46, 20

Arrows = Mapping[str, frozenset[str]]


def room_of(module: str) -> str:
    """The room that a module lies in."""
    parts = module.split(".")
    if len(parts) == 1:
        return parts[0]
    package, inner = parts[0], parts[1]
    if package == "augment":
        return f"augment.{inner}"
    if package == "reports" and inner in ("metrics", "papers"):
        return f"reports.{inner}"
    if package == "pipeline" and inner == "stages":
        return f"pipeline.stages.{parts[2]}" if len(parts) > 2 and parts[2] in STAGES else "pipeline.stages"
    if package == "pipeline" and inner in ("cli", "commands", "core", "parameters", "photos"):
        return f"pipeline.{inner}"
    return package


def counted_imports() -> dict[tuple[str, str], int]:
    """How many imports lead from a room into another, of any kind: also those within functions."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    packages = {module.rpartition(".")[0] for module in graph.modules}
    counts: dict[tuple[str, str], int] = {}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = room_of(module), room_of(imported)
            # A package that imports nothing is imported to ask for its folder, or for one of its modules by a name
            # that is known only when it runs: no code of the room is used.
            if pair[0] != pair[1] and (imported not in packages or graph.find_modules_directly_imported_by(imported)):
                counts[pair] = counts.get(pair, 0) + 1
    return counts


def arrows(counts: Mapping[tuple[str, str], int]) -> dict[str, frozenset[str]]:
    """What each room imports."""
    rooms = {room for pair in counts for room in pair}
    return {room: frozenset(to for source, to in counts if source == room) for room in sorted(rooms)}


def reachable(graph: Arrows, room: str) -> frozenset[str]:
    """All that a room imports, directly or not."""
    found: set[str] = set()
    left = [room]
    while left:
        for other in graph[left.pop()]:
            if other not in found:
                found.add(other)
                left.append(other)
    return frozenset(found)


def circles(graph: Arrows) -> list[str]:
    """The rooms that import themselves by way of others; none, if the house is sound."""
    return [room for room in graph if room in reachable(graph, room)]


def reduced(graph: Arrows) -> dict[str, frozenset[str]]:
    """The arrows that do not follow from others.

    Args:
        graph: Without circles.
    """
    return {
        room: frozenset(to for to in tos if not any(to in reachable(graph, other) for other in tos - {to}))
        for room, tos in graph.items()
    }


def layers(graph: Arrows) -> list[list[str]]:
    """The rooms by the length of the longest way down from them; the top layer, which nobody imports, comes first."""
    depth: dict[str, int] = {}

    def depth_of(room: str) -> int:
        if room not in depth:
            depth[room] = 1 + max((depth_of(to) for to in graph[room]), default=-1)
        return depth[room]

    for room in graph:
        depth_of(room)
    imported = {to for tos in graph.values() for to in tos}
    stages = {room for room in graph if room.startswith("pipeline.stages.")} - imported
    depth |= dict.fromkeys(stages, max((depth[room] for room in stages), default=0))  # side by side
    rows = [sorted(room for room in graph if depth[room] == level) for level in range(max(depth.values()) + 1)]
    for _ in range(4):  # each row follows the mean place of what it imports, then of what imports it
        for level in (*range(1, len(rows)), *reversed(range(len(rows) - 1))):
            place = {room: (number + 0.5) / len(row) for row in rows for number, room in enumerate(row)}

            def mean(room: str, place: Mapping[str, float] = place) -> float:
                near = [place[other] for other in graph if other in graph[room] or room in graph[other]]
                return sum(near) / len(near) if near else 0.5

            rows[level] = sorted(rows[level], key=lambda room: (round(mean(room), 6), room))
    return rows[::-1]


def picture(graph: Arrows) -> str:
    """The SVG.

    Raises:
        ValueError: Rooms import each other in a circle; names them.
    """
    if round_about := circles(graph):
        raise ValueError(f"rooms import each other in a circle: {', '.join(round_about)}")
    drawn = reduced(graph)
    rows = layers(graph)
    width = max(len(row) for row in rows) * (WIDTH + GAP_X) - GAP_X + 2 * MARGIN
    height = len(rows) * (HEIGHT + GAP_Y) - GAP_Y + 2 * MARGIN
    places: dict[str, tuple[float, float]] = {}
    for level, row in enumerate(rows):
        start = (width - len(row) * (WIDTH + GAP_X) + GAP_X) / 2
        for number, room in enumerate(row):
            places[room] = (start + number * (WIDTH + GAP_X), MARGIN + level * (HEIGHT + GAP_Y))
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" '
        'font-family="sans-serif" font-size="12">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#64748b"/></marker></defs>',
        f'<rect width="{width:.0f}" height="{height:.0f}" fill="white"/>',
    ]
    for room, tos in drawn.items():
        for to in sorted(tos):
            (x, y), (to_x, to_y) = places[room], places[to]
            begin, end = (x + WIDTH / 2, y + HEIGHT), (to_x + WIDTH / 2, to_y)
            bend = (end[1] - begin[1]) / 2
            lines.append(
                f'<path d="M{begin[0]:.0f} {begin[1]:.0f} C{begin[0]:.0f} {begin[1] + bend:.0f} '
                f'{end[0]:.0f} {end[1] - bend:.0f} {end[0]:.0f} {end[1]:.0f}" fill="none" stroke="#94a3b8" '
                'stroke-width="1.2" marker-end="url(#tip)"/>'
            )
    for room, (x, y) in places.items():
        lines += [
            f'<rect x="{x:.0f}" y="{y:.0f}" width="{WIDTH}" height="{HEIGHT}" rx="6" '
            f'fill="{COLOURS[room.split(".")[0]]}" stroke="#475569"/>',
            f'<text x="{x + WIDTH / 2:.0f}" y="{y + HEIGHT / 2 + 4:.0f}" text-anchor="middle">'
            f"{escape(room.replace('pipeline.stages', 'stages'))}</text>",
        ]
    return "\n".join([*lines, "</svg>"]) + "\n"


def matrix(counts: Mapping[tuple[str, str], int]) -> list[str]:
    """The same as a Markdown table: rows import columns; the numbers are imports."""
    graph = arrows(counts)
    order = [room for row in layers(graph) for room in row]
    columns = [room for room in order if any(room in tos for tos in graph.values())]
    lines = [
        "| imports | " + " | ".join(column.replace(".", ". ") for column in columns) + " |",
        "| --- |" + " ---: |" * len(columns),
    ]
    for room in order:
        if graph[room]:
            cells = (str(counts.get((room, column), "")) for column in columns)
            lines.append(f"| `{room}` | " + " | ".join(cells) + " |")
    return lines
