"""A card for a folder of datasets: it names each, so that Hugging Face's `datasets` never reads them as one."""

from __future__ import annotations

from pathlib import Path

from augment.core.files import atomic_write_text
from augment.faces.licences import Licence, card_head, read_card
from augment.faces.shards import UNSPLIT
from augment.faces.table import SPLITS


def write_parent_card(directory: Path, *, name: str = "", title: str) -> Path | None:
    """Writes `README.md` into a folder that holds datasets, at whatever depth.

    Each becomes a configuration: `artifacts/selected/warp.s2l/fold-0` is `warp-fold-0` in the card of
    `artifacts/selected`. `load_dataset` of the folder must then be told which, unless there is one only. Without this
    card it would take all files below for one table: several translators' faces, of folds that test on each other's
    training faces.

    Args:
        directory: The folder. What it holds now is named; whoever adds or removes a dataset writes the card again.
        name: Goes before each configuration's name: the folder's own, where it is part of what tells them apart.
        title: The card's heading.

    Returns:
        The card's path; None where the folder holds no dataset with a card (a card that was there goes).
    """
    directory = Path(directory)
    card = directory / "README.md"
    licences: dict[str, Licence] = {}
    configs = []
    for data in sorted(directory.rglob("data")):
        folder = data.parent
        licence = read_card(folder) if folder != directory else None
        if licence is None:
            continue
        place = folder.relative_to(directory)
        config = "-".join([*([name] if name else []), *(part.removesuffix(".s2l") for part in place.parts)])
        files = [
            {"split": split, "path": [f"{place.as_posix()}/data/{file_word}-*.parquet" for file_word in found]}
            for split in SPLITS
            if (found := [word for word in _file_words(split) if any(data.glob(f"{word}-*.parquet"))])
        ]
        if files:
            configs.append({"config_name": config, "data_files": files})
            licences[config] = licence
    if not configs:
        card.unlink(missing_ok=True)
        return None
    first, *others = licences.values()
    licence = first.with_lines(line for other in others for line in other.lines)
    front = {**licence.front_matter(), "configs": configs}
    example = configs[0]["config_name"]
    lines = [
        *card_head(front, title),
        f'Each folder below is a dataset of its own, and so a configuration: `load_dataset(FOLDER, "{example}")`.',
        "They are not parts of one: different translators' faces, or faces made from other folds' training faces.",
        "",
        *(f"- `{config}`" for config in licences),
        "",
        *licence.section(),
    ]
    atomic_write_text(card, "\n".join(lines))
    return card


def _file_words(split: str) -> tuple[str, ...]:
    """How files of a split begin; those without one are the card's `train` split."""
    return (split, UNSPLIT) if split == "train" else (split,)
