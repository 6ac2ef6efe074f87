"""Writes the generated pages of docs/ and the picture of imports: `uv run python -m tools.write_docs`."""

from __future__ import annotations

from pathlib import Path

from augment.core.files import atomic_write_text
from tools import api_pages, architecture_page, command_line_page, parameters_page

ROOT = Path(__file__).parent.parent


def generated(root: Path = ROOT) -> dict[Path, str]:
    """Every generated file, and every page with a generated part, by its path in the project."""
    reference = Path("docs/reference")
    texts = {reference / "parameters.md": parameters_page.page(root)}
    texts |= {reference / "api" / name: text for name, text in api_pages.pages().items()}
    for page, renewed in (
        (reference / "command-line.md", command_line_page.page),
        (Path("docs/architecture.md"), architecture_page.page),
    ):
        texts[page] = renewed(root, (root / page).read_text(encoding="utf-8"))
    texts[Path("docs/imports.svg")] = architecture_page.picture_of_imports()
    return texts


def leftovers(texts: dict[Path, str], root: Path = ROOT) -> list[Path]:
    """Pages of the API whose room is gone."""
    found = (file.relative_to(root) for file in (root / "docs/reference/api").glob("*.md"))
    return [file for file in found if file not in texts]


def main() -> None:
    """Writes what differs, deletes what is left over, and says which."""
    texts = generated()
    for path, text in texts.items():
        file = ROOT / path
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            atomic_write_text(file, text)
            print(f"written: {path}")
    for path in leftovers(texts):
        (ROOT / path).unlink()
        print(f"deleted: {path}")


if __name__ == "__main__":
    main()
