"""Published figures: what the papers printed, each with its data set, none passed off as ours."""

import pytest

from augment.core.errors import InputError
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
