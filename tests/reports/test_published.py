"""Published figures: what the papers printed, each with its data set, none passed off as ours."""

import re
from pathlib import Path

import pytest

from augment.core.errors import InputError
from reports.experiments.catalogue import read_experiments
from reports.papers.published import COLUMNS, describe_published, published_for, read_published


def test_every_figure_names_its_paper_table_and_data() -> None:
    published = read_published()
    assert tuple(published.columns) == COLUMNS
    for column in ("paper", "table", "row", "metric", "dataset", "note"):
        assert (published[column].str.len() > 0).all(), column
    assert not published.duplicated(["paper", "table", "row", "metric"]).any()


@pytest.mark.parametrize(
    ("table", "row", "metric", "value"),
    [
        ("Table 1", "LSSL", "accuracy", 87.40),
        ("Table 1", "StarGAN", "accuracy", 83.90),
        ("Table 1", "HOG 3D", "accuracy", 70.63),
        ("Table 1", "LSSL without bidirectional loss", "accuracy", 84.30),
        ("Table 2", "StarGAN + skip + dropout", "recognition", 72.828),
        ("Table 2", "IcGAN", "recognition", 80.32),
        ("Table 3", "LSSL", "accuracy at 45 degrees", 64.05),
        ("Table 3", "real profile faces", "accuracy at 30 degrees", 66.50),
    ],
)
def test_figures_are_the_printed_ones(table, row, metric, value) -> None:
    published = read_published()
    found = published[(published.table == table) & (published.row == row) & (published.metric == metric)]
    assert found["value"].tolist() == [value]


PAPERS = Path(__file__).parents[3] / "shared" / "papers"
# How the papers' own tables name a row where ours spells it out.
PRINTED = {
    "LSSL": {
        "LSSL without side input": "LSSL W/O Side Input",
        "LSSL without bidirectional loss": "LSSL W/O Bidirectional Loss",
        "LSSL without parsing loss": "LSSL W/O Face Parsing Loss",
        "real test set": "Real Test Set",
        "real profile faces": "Real Profile Face Images",
        "simulated frontal faces": "Simulated Frontal Face Images",
    },
    "StarGAN variants": {
        "real test set": "Original real images on test set",
        "StarGAN": "original StarGAN",
        "StarGAN + perceptual": "StarGAN + perceptual loss",
        "StarGAN + perceptual + skip": "StarGAN + perceptual loss + skip connection",
        "StarGAN + dropout": "StarGAN + dropouts tricks",
        "StarGAN + skip": "StarGAN + skip connection",
        "StarGAN + skip + dropout": "StarGAN + skip connection + dropouts tricks",
    },
}


@pytest.mark.skipif(not PAPERS.is_dir(), reason="the papers' texts are not here")
@pytest.mark.parametrize(("paper", "file"), [("LSSL", "lssl.txt"), ("StarGAN variants", "stargan_variants.txt")])
def test_figures_stand_in_the_papers_texts(paper: str, file: str) -> None:
    """Every figure of a table stands in the line of its row, after that table's title."""
    text = re.sub(r"</?b>", "", (PAPERS / file).read_text(encoding="utf-8"))
    published = read_published()
    for row in published[published["paper"] == paper].itertuples():
        if row.table == "Fig. 8":
            assert f"{row.value:.2f}%" in text.partition("As shown in Fig. 8")[2][:300]
            continue
        figures: dict[str, list[str]] = {}
        for line in text.partition(f"{row.table}: ")[2].splitlines():
            label, *cells = line.split("\t")
            label = re.sub(r"^\([a-z]\) | [A-Z][a-z]+ et al\. \(\d{4}\)$", "", label)
            figures.setdefault(label, [cell.rstrip("%") for cell in cells])
        columns = {"accuracy at 30 degrees": 1, "accuracy at 45 degrees": 2}
        found = figures[PRINTED[paper].get(row.row, row.row)][columns.get(row.metric, 0)]
        assert found == f"{row.value:.{3 if paper == 'StarGAN variants' else 2}f}", row


@pytest.mark.skipif(not PAPERS.is_dir(), reason="the papers' texts are not here")
def test_the_claim_about_models_and_augmentations_is_the_papers() -> None:
    text = (PAPERS / "bicogan.txt").read_text(encoding="utf-8")
    printed = {cells[0]: cells[2] for line in text.splitlines() if len(cells := line.split("\t")) == 3}
    names = {"Affine_rotate": "rotate", "Crop": "crop", "Fliplr": "mirror", "GammaContrast": "contrast"}
    names |= {"Affine_scale": "scale", "Affine_shear": "shear"}
    claim = read_experiments()["bicogan_table"].claim
    assert claim is not None and claim.against is not None and claim.against.row == "bicogan"
    for word in ("better", "same", "worse"):
        assert {f"bicogan_{names[name]}" for name, found in printed.items() if found.strip() == word} == set(
            getattr(claim.against, word)
        )


@pytest.mark.skipif(not PAPERS.is_dir(), reason="the papers' texts are not here")
@pytest.mark.parametrize(("name", "file"), [("bicogan_table", "bicogan.txt"), ("ccyclegan_fig3", "ccyclegan.txt")])
def test_claims_quote_the_papers(name: str, file: str) -> None:
    text = " ".join((PAPERS / file).read_text(encoding="utf-8").replace("’", "'").split())
    claim = read_experiments()[name].claim
    assert claim is not None
    quoted = re.findall(r'"([^"]+)"', claim.text)
    assert quoted and not [words for words in quoted if words not in text]


def test_tables_are_whole() -> None:
    published = read_published()
    lssl, variants = published[published.paper == "LSSL"], published[published.paper == "StarGAN variants"]
    assert lssl["table"].value_counts().to_dict() == {"Table 3": 21, "Table 1": 10, "Table 2": 6, "Fig. 8": 1}
    assert (variants["metric"] == "recognition").sum() == 7


def test_our_rows_find_theirs() -> None:
    value, origin = describe_published(published_for("utility:lssl"))
    assert value == "87.40" and origin == "Oulu-CASIA VIS: LSSL (LSSL, Table 1)"
    values, origins = describe_published(published_for("recognition:stargan"))
    assert values == "85.15; 44.73" and "MUG" in origins and "FER2013" in origins
    assert describe_published(published_for("utility:warp")) == ("", "")
    assert published_for("").empty


def test_bad_files_are_refused(tmp_path) -> None:
    (tmp_path / "a.csv").write_text("paper,value\nx,1\n")
    (tmp_path / "b.csv").write_text(",".join(COLUMNS) + "\nw,t,r,accuracy,many,d,n,\n")
    with pytest.raises(InputError) as caught:
        read_published(tmp_path)
    assert "a.csv" in str(caught.value) and "b.csv row 2" in str(caught.value)
