"""The site of the experiments: what it contains, and how it behaves in a real browser that opens it from disk."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pandas as pd
import pytest
import test_experiments
from PIL import Image
from test_experiments import FACTS, MADE_UP

from augment.core.errors import InputError
from augment.core.seals import seal_folder
from reports.experiments.catalogue import Experiment, Row, read_experiments
from reports.experiments.page import filed_runs
from reports.experiments.row_figures import RunResults, rows_of_run, write_sheets
from reports.experiments.rows import write_rows
from reports.site.build import build_site
from reports.site.charts import charts_of

pytestmark = pytest.mark.slow

results = test_experiments.results  # the fixture
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the PATH opens the site")
HOSTILE = "</script><img src=x onerror=alert(1)>"
TRANSLATORS = MADE_UP.model_copy(
    update={
        "name": "translators",
        "shows": "Table 2",
        "measures": ("recognition",),
        "rows": {
            "real test faces": Row(title="real", published="real test set"),
            "lssl": Row(title="LSSL", published="LSSL"),
            "stargan": Row(title=HOSTILE, published="StarGAN"),
        },
    }
)
EXPERIMENTS = {"made_up": MADE_UP, "translators": TRANSLATORS, "lssl_fig8": read_experiments()["lssl_fig8"]}


def file_run(experiment: Experiment, results: RunResults, folder: Path, scale: str) -> None:
    rows = rows_of_run(experiment, results, FACTS.model_copy(update={"scale": scale}))
    write_rows(rows, folder / experiment.name / f"rig-{scale}")
    write_sheets(rows, results, folder / experiment.name / f"rig-{scale}")
    if experiment is TRANSLATORS:
        lines = ["translator,class,step,distance"]
        lines += [f"lssl,{name},{step},{step / 100}" for name in ("happy", "sad") for step in (10, 20)]
        (folder / experiment.name / f"rig-{scale}" / "distances.csv").write_text("\n".join(lines) + "\n")
        Image.new("RGB", (64, 48), "gray").save(folder / experiment.name / f"rig-{scale}" / "nearest-stargan.png")
    seal_folder(folder / experiment.name / f"rig-{scale}")


@pytest.fixture(scope="module")
def site(results: RunResults, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    for scale in ("cpu", "smoke"):
        file_run(MADE_UP, results, folder / "results", scale)
    file_run(TRANSLATORS, results, folder / "results", "cpu")
    build_site(EXPERIMENTS, folder / "results", folder / "out")
    return folder


def test_every_experiment_has_a_page_and_every_row_its_files(site: Path) -> None:
    out = site / "out"
    index = (out / "index.html").read_text()
    for name in EXPERIMENTS:
        assert f'href="{name}.html"' in index and (out / f"{name}.html").is_file()
    assert "It was not run yet." in (out / "lssl_fig8.html").read_text()
    row = out / "rows" / "made_up" / "rig-cpu" / "warp-400.json"
    assert row.read_bytes() == (site / "results" / "made_up" / "rig-cpu" / "rows" / "warp-400.json").read_bytes()
    page = (out / "made_up.html").read_text()
    for link in re.findall(r'href="(rows/[^"]+)"', page):
        assert (out / unquote(link)).is_file(), link
    assert "Atlases" in page and "its figures say nothing" in page


def test_tables_are_given_away_with_numbers_as_numbers(site: Path) -> None:
    place = site / "out" / "rows" / "made_up" / "rig-cpu"
    figures = pd.read_csv(place / "figures.csv").set_index(["row", "measure"])
    row = json.loads((place / "warp-400.json").read_text())
    ours = figures.loc["LSSL", "accuracy"]
    assert ours["ours"] == row["figures"]["accuracy"] and ours["published"] == 87.4
    assert (ours["data"], ours["published_data"]) == ("embedded faces (rare)", "Oulu-CASIA VIS")
    never = figures.loc["never run", "accuracy"]
    assert pd.isna(never["ours"]) and never["published"] == 70.63
    differences = pd.read_csv(place / "differences.csv").set_index("row")
    for key in ("value", "low", "high"):
        assert differences.loc["LSSL", key] == row["difference"][key]
    place = site / "out" / "rows" / "translators" / "rig-cpu"
    counted = pd.read_csv(place / "confusions.csv")
    row = json.loads((place / "lssl.json").read_text())
    assert counted[counted["row"] == "LSSL"]["faces"].tolist() == [count for line in row["confusion"] for count in line]
    assert pd.read_csv(place / "distances.csv").columns.tolist() == ["translator", "class", "step", "distance"]


def test_the_index_says_in_words_whether_it_came_out_as_published(site: Path) -> None:
    index = (site / "out" / "index.html").read_text()
    assert re.search(r'data-sort="[\d.]+">rig-cpu: accuracy: (yes|no), \d+ of \d+ pairs<br>rig-smoke: ', index)


def test_a_measure_that_no_row_has_is_neither_a_column_nor_a_chart(results: RunResults, tmp_path: Path) -> None:
    experiment = MADE_UP.model_copy(update={"measures": ("accuracy", "FID")})
    file_run(experiment, results, tmp_path / "results", "cpu")
    build_site({"made_up": experiment}, tmp_path / "results", tmp_path / "out")
    assert "FID" not in (tmp_path / "out" / "made_up.html").read_text()
    row = tmp_path / "results" / "made_up" / "rig-cpu" / "rows" / "warp-400.json"
    row.write_text(row.read_text().replace('"accuracy":', '"FID": 71.234, "accuracy":', 1))
    seal_folder(tmp_path / "results" / "made_up" / "rig-cpu")
    build_site({"made_up": experiment}, tmp_path / "results", tmp_path / "out")
    page = (tmp_path / "out" / "made_up.html").read_text()
    assert ">ours: FID<" in page and "<td>71.23</td>" in page and "FID: ours of embedded faces" in page


def test_what_cannot_be_shown_is_not_called_never_run(site: Path, results: RunResults, tmp_path: Path) -> None:
    file_run(MADE_UP, results, tmp_path / "results", "cpu")
    row = tmp_path / "results" / "made_up" / "rig-cpu" / "rows" / "warp-400.json"
    row.write_text(row.read_text().replace("1", "2", 1))
    build_site({"made_up": MADE_UP}, tmp_path / "results", tmp_path / "out")
    page = (tmp_path / "out" / "made_up.html").read_text()
    assert "Left out: made_up/rig-cpu/rows/warp-400.json" in page and str(tmp_path) not in page
    assert "what was filed can&#39;t be shown" in page or "what was filed can't be shown" in page
    assert "It was not run yet" not in page and "none was run" not in page
    assert "filed, but can" in (tmp_path / "out" / "index.html").read_text()


def test_folders_of_any_name_are_linked(results: RunResults, tmp_path: Path) -> None:
    file_run(TRANSLATORS, results, tmp_path / "results", "cpu")
    place = tmp_path / "results" / "translators"
    (place / "rig-cpu").rename(place / "my run #2 50%?")
    build_site({"translators": TRANSLATORS}, tmp_path / "results", tmp_path / "out")
    page = (tmp_path / "out" / "translators.html").read_text()
    links = re.findall(r'(?:href|src|data-file)="(rows/[^"]+)"', page)
    assert len(links) > 5 and not any(sign in link for link in links for sign in " #?")
    assert all((tmp_path / "out" / unquote(link)).is_file() for link in links)


def test_nothing_of_a_row_is_taken_for_html(site: Path) -> None:
    page = (site / "out" / "translators.html").read_text()
    assert HOSTILE not in page and "<img src=x" not in page
    assert "&lt;/script&gt;&lt;img src=x onerror=alert(1)&gt;" in page
    data = re.search(r'<script type="application/json" id="charts">(.*?)</script>', page, re.S)
    assert data is not None and HOSTILE in json.dumps(json.loads(data[1]), ensure_ascii=False)


def test_charts_hold_the_rows_figures(site: Path) -> None:
    run = filed_runs(MADE_UP, site / "results" / "made_up")[0][0]
    measures, differences = charts_of(MADE_UP, run)
    assert measures["title"] == "accuracy: ours of embedded faces (rare), published of Oulu-CASIA VIS"
    ours = {v["row"]: v["figure"] for v in measures["data"]["values"] if v["of"].startswith("ours")}
    assert ours["LSSL"] == pytest.approx(run.rows["warp-400"].figures["accuracy"], abs=1e-3)
    published = {v["row"]: v["figure"] for v in measures["data"]["values"] if v["of"].startswith("published")}
    assert published == {"StarGAN": 83.9, "LSSL": 87.4, "never run": 70.63}
    low = {value["row"]: value["low"] for value in differences["data"]["values"]}
    assert run.rows["warp-400"].difference is not None
    assert low["LSSL"] == run.rows["warp-400"].difference.low
    run = filed_runs(TRANSLATORS, site / "results" / "translators")[0][0]
    charts = charts_of(TRANSLATORS, run)
    (measure,) = [chart for chart in charts if chart["title"].startswith("recognition: ")]
    bounds = {v["row"]: (v["low"], v["high"]) for v in measure["data"]["values"] if "low" in v}
    assert bounds["LSSL"] == run.rows["lssl"].intervals["recognition"]
    titles = [chart["title"] for chart in charts]
    assert sum("what is recognized in translated faces" in title for title in titles) == 2
    assert sum(title == "real: what is recognized in real faces" for title in titles) == 1
    assert any("course of the training" in title for title in titles)


def test_curves_over_numbers_of_faces_have_real_faces_beside_them(results: RunResults, tmp_path: Path) -> None:
    named = {"classical": "real faces", "warp-200": "warp, 200 per class", "warp-400": "warp, 400 per class"}
    rows = [
        row.model_copy(update={"row": row.row.replace("-", "_"), "title": named[row.row]})
        for row in rows_of_run(
            MADE_UP.model_copy(update={"rows": {name: Row(title=title) for name, title in named.items()}}),
            results,
            FACTS,
        )
    ]
    experiment = MADE_UP.model_copy(update={"rows": {row.row: Row(title=row.title) for row in rows}})
    write_rows(rows, tmp_path / "rig-cpu")
    seal_folder(tmp_path / "rig-cpu")
    charts = charts_of(experiment, filed_runs(experiment, tmp_path)[0][0])
    (accuracy,) = [chart for chart in charts if chart["title"] == "Accuracy against the number of synthetic faces"]
    of = {(value["translator"], value.get("per class")): value for value in accuracy["data"]["values"]}
    assert list(of) == [("real faces", None), ("warp", 200), ("warp", 400)]
    assert of["warp", 400]["low"] < of["warp", 400]["accuracy"] < of["warp", 400]["high"]
    (difference,) = [chart for chart in charts if chart["title"].startswith("Difference from ")]
    found = {value["per class"]: (value["low"], value["high"]) for value in difference["data"]["values"]}
    assert found == {
        int(row.row.partition("_")[2]): (row.difference.low, row.difference.high) for row in rows if row.difference
    }


def test_another_folder_is_not_replaced(site: Path, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match="not touched"):
        build_site(EXPERIMENTS, site / "results", tmp_path / "mine")


# In a browser


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield opened
        opened.close()


class Visit:
    """A page of the site, and everything that it asked for or complained of."""

    def __init__(self, browser: Any, file: Path, **context: Any) -> None:
        self.page = browser.new_context(**context).new_page()
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self._complain(message.type, message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(file.as_uri())
        self.page.wait_for_load_state("networkidle")

    def _complain(self, kind: str, text: str) -> None:
        if kind in ("error", "warning"):
            self.complaints.append(text)

    def column(self, table: str, number: int) -> list[str]:
        return self.page.locator(f"#{table} tbody tr > :nth-child({number})").all_inner_texts()


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("name", ["index", "made_up", "translators", "lssl_fig8"])
def test_opens_from_disk_without_errors_requests_or_barriers(site: Path, browser: Any, name: str, scheme: str) -> None:
    from axe_playwright_python.sync_playwright import Axe

    visit = Visit(browser, site / "out" / f"{name}.html", color_scheme=scheme)
    assert not visit.complaints
    assert all(url.startswith(("file://", "data:")) for url in visit.requests)
    found = Axe().run(visit.page)
    serious = [v for v in found.response["violations"] if v["impact"] in ("serious", "critical")]
    assert not serious, found.generate_report()


@needs_browser
def test_a_heading_sorts_and_a_word_filters(site: Path, browser: Any) -> None:
    visit = Visit(browser, site / "out" / "made_up.html")
    page, column = visit.page, visit.column
    heading = page.locator("#rows-1 thead th").nth(2)
    heading.locator("button").focus()
    page.keyboard.press("Enter")  # by keyboard alone
    assert heading.get_attribute("aria-sort") == "ascending"
    assert column("rows-1", 3) == ["70.63", "83.90", "87.40", "–", "–"]  # numbers as numbers, missing ones last
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "descending"
    assert column("rows-1", 3) == ["87.40", "83.90", "70.63", "–", "–"]
    page.locator('[data-filters="rows-1"]').fill("stargan")
    assert page.locator("#rows-1 tbody tr:visible").count() == 1
    assert page.locator('[data-counts="rows-1"]').inner_text() == "1 of 5 rows"


@needs_browser
def test_charts_are_drawn_and_tell_their_values_under_the_pointer(site: Path, browser: Any) -> None:
    visit = Visit(browser, site / "out" / "translators.html")
    assert visit.page.locator(".chart svg").count() == visit.page.locator("[data-chart]").count() >= 4
    cell = visit.page.locator(
        'figure:has-text("LSSL: what is recognized") svg [aria-roledescription="rect mark"]'
    ).first
    cell.hover()
    tooltip = visit.page.locator("#vg-tooltip-element")
    tooltip.wait_for(state="visible")
    assert "wanted" in tooltip.inner_text() and "%" in tooltip.inner_text()
    # Without a pointer: in the cells, and in a table.
    shown = visit.page.locator('figure:has-text("LSSL: what is recognized") svg text').all_text_contents()
    row = json.loads((site / "out" / "rows" / "translators" / "rig-cpu" / "lssl.json").read_text())
    share = row["confusion"][0][0] / sum(row["confusion"][0])
    assert f"{share:.0%}" in shown
    table = visit.page.locator('details:has-text("LSSL: what is recognized") tbody tr').first.locator("td")
    assert table.first.text_content() == f"{100 * share:.1f}"


@needs_browser
def test_the_panels_can_be_told_apart_in_the_dark(site: Path, browser: Any) -> None:
    page = Visit(browser, site / "out" / "translators.html", color_scheme="dark").page
    heading = page.locator('figure:has-text("course of the training") svg text', has_text="happy").first
    assert heading.evaluate("e => getComputedStyle(e).fill") == page.evaluate(
        "(() => { const e = document.createElement('p'); e.style.color = 'var(--ink)'; document.body.append(e);"
        " return getComputedStyle(e).color; })()"
    )


@needs_browser
def test_the_minus_of_a_keyboard_finds_that_of_print(site: Path, browser: Any) -> None:
    page = Visit(browser, site / "out" / "made_up.html").page
    rows = page.locator("#rows-1 tbody tr:visible")
    for minus in ("-", "\u2212"):
        page.locator('[data-filters="rows-1"]').fill(f"[{minus}")
        assert 0 < rows.count() < 5


@needs_browser
def test_a_face_fades_into_its_translation(site: Path, browser: Any) -> None:
    page = Visit(browser, site / "out" / "translators.html").page
    figure = page.locator("figure.morph").first
    result = figure.locator(".result")
    figure.locator("select.target").select_option("3")
    figure.locator('input[type="range"]').fill("40")
    assert result.evaluate("e => [e.style.opacity, e.style.backgroundPosition]") == ["0.4", "-576px 0px"]
    assert result.evaluate("e => e.style.backgroundImage").endswith('lssl.png")')


@needs_browser
def test_two_runs_side_by_side(site: Path, browser: Any) -> None:
    page = Visit(browser, site / "out" / "made_up.html").page
    texts = page.locator("#comparison thead th").all_inner_texts()
    assert texts == ["row", "rig-cpu", "rig-smoke", "second \u2212 first"]
    note = page.locator("#comparison-note").inner_text()
    assert "rig-cpu: embedded faces (rare); scale cpu" in note and "different data" not in note
    cells = page.locator("#comparison tbody tr", has_text="LSSL").locator("td").all_inner_texts()
    assert cells[0] == cells[1] and cells[2] == "0.00"
    page.locator("#measure").select_option("macro F1")
    assert page.locator("#comparison tbody tr").count() == 4


@needs_browser
def test_of_different_data_no_difference_is_given(results: RunResults, browser: Any, tmp_path: Path) -> None:
    for scale in ("cpu", "gpu"):
        file_run(MADE_UP, results, tmp_path / "results", scale)
    place = tmp_path / "results" / "made_up" / "rig-gpu"
    for file in (place / "rows").iterdir():
        file.write_text(file.read_text().replace("embedded faces (rare)", "FER2013"))
    (place / "rows" / "classical.json").unlink()
    seal_folder(place)
    build_site({"made_up": MADE_UP}, tmp_path / "results", tmp_path / "out")
    page = Visit(browser, tmp_path / "out" / "made_up.html").page
    assert "The two are of different data" in page.locator("#comparison-note").inner_text()
    cells = page.locator("#comparison tbody tr", has_text="LSSL").locator("td").all_inner_texts()
    assert cells[0] == cells[1] != "–" and cells[2] == "–"
    cells = page.locator("#comparison tbody tr", has_text="real faces").locator("td").all_inner_texts()
    assert cells[0] != "–" and cells[1:] == ["–", "–"]  # a row that one run has is shown


@needs_browser
def test_a_phone_scrolls_no_page_sideways(site: Path, browser: Any) -> None:
    small = []
    for name in ("index", "made_up", "translators"):
        page = Visit(browser, site / "out" / f"{name}.html", viewport={"width": 360, "height": 740}).page
        assert page.evaluate("document.documentElement.scrollWidth") <= 360, name
        boxes = "[...document.querySelectorAll('.charts figure.small .scroll')]"
        small += page.evaluate(f"{boxes}.map((box) => box.scrollWidth <= box.clientWidth)")
    assert small and all(small), "confusion matrices, with their legends"
