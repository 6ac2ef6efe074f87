"""The page can be read: contrast of every text, and no word, table or picture wider than a phone.

Contrast and wrapping rules are read from the style sheet and the cells themselves, so that they are tested where no
browser is. Where one is, it lays the page out and measures.
"""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path

import made_up_run
import pytest

from reports.colours import BLACK, CONTRAST, STEPS, WHITE, contrast, heat_step, luminance, parse_colour, readable_on
from reports.figures import DARK, LIGHT
from reports.inputs import load_report_data
from reports.page import render_page
from reports.settings import BootstrapSettings, ReportSettings

pytestmark = pytest.mark.slow

PATH = (
    "/home/somebody/.cache/torch/hub/checkpoints/pt_inception-2015-12-05-6726825d-and-no-place-to-break-it-at-all.pth"
)
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
DARK_MODE = "(prefers-color-scheme: dark)"


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> str:
    """A page with long words wherever a run's own words come in."""
    inputs = made_up_run.write_run(tmp_path_factory.mktemp("run"))
    for file in inputs.scores.values():
        scores = json.loads(file.read_text())
        scores["unavailable"][0]["reason"] = f"the Inception weights {PATH} are absent"
        file.write_text(json.dumps(scores))
    word = "a" * 90
    inputs = inputs.model_copy(
        update={"data_name": word, "notes": (PATH,), "command": f"s2l {word}", "environment": {"machine": word}}
    )
    settings = ReportSettings(title=word, bootstrap=BootstrapSettings(resamples=300))
    return render_page(load_report_data(inputs, settings))


def style_of(page: str) -> str:
    return re.search(r"<style>(.*?)</style>", page, re.S).group(1)


def split_modes(style: str) -> tuple[str, str]:
    """The style sheet's light rules and its dark ones, braces counted."""
    light, dark = "", ""
    while (start := style.find(f"@media {DARK_MODE}")) >= 0:
        depth, end = 1, style.index("{", start)
        while depth:
            end += 1
            depth += {"{": 1, "}": -1}.get(style[end], 0)
        light, dark = light + style[:start], dark + style[style.index("{", start) + 1 : end]
        style = style[end + 1 :]
    return light + style, dark


def variables(rules: str) -> dict[str, str]:
    return dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6});", rules))


def cells(rules: str) -> dict[int, tuple[str, str]]:
    found = re.findall(r"\.heat td\.h(\d+) \{ background: (#[0-9a-f]{6}); color: (#[0-9a-f]{6}); \}", rules)
    return {int(step): (ground, text) for step, ground, text in found}


def test_names_of_arms_may_break_after_an_underscore(tmp_path: Path) -> None:
    inputs = made_up_run.write_run(tmp_path)

    def renamed(found: dict) -> dict:
        return {"warp_of_200" if name == "warp-200" else name: value for name, value in found.items()}

    changes = {key: renamed(getattr(inputs, key)) for key in ("arms", "predictions", "histories")}
    settings = ReportSettings(bootstrap=BootstrapSettings(resamples=300))
    page = render_page(load_report_data(inputs.model_copy(update=changes), settings), figures={})
    named = re.findall(r'<span class="name">(.*?)<small>', page)
    assert "warp_<wbr>of_<wbr>200" in named and "warp-400" in named


def test_contrast_by_the_guidelines_own_examples() -> None:
    assert contrast(BLACK, WHITE) == pytest.approx(21)
    assert contrast(WHITE, WHITE) == 1
    assert contrast(parse_colour("#777777"), WHITE) == pytest.approx(4.48, abs=0.005)  # known to fail
    assert contrast(parse_colour("#767676"), WHITE) == pytest.approx(4.54, abs=0.005)  # known to pass
    assert luminance(parse_colour("#ff0000")) == pytest.approx(0.2126)
    with pytest.raises(ValueError, match="#rrggbb"):
        parse_colour("red")


def test_every_grey_bears_black_or_white() -> None:
    assert min(contrast(readable_on((g, g, g)), (g, g, g)) for g in range(256)) > CONTRAST


def test_every_heat_cell_can_be_read_in_both_modes(page) -> None:
    for rules in split_modes(style_of(page)):
        found = cells(rules)
        assert sorted(found) == list(range(STEPS + 1))
        for step, (ground, text) in found.items():
            assert contrast(parse_colour(ground), parse_colour(text)) >= CONTRAST, (step, ground, text)
    used = {int(step) for step in re.findall(r'<td class="h(\d+)', page)}
    assert len(used) > 8 and used <= set(range(STEPS + 1))
    # Nothing else colours a cell or thins its text.
    assert (
        "--v:" not in page
        and 'class="over' not in page
        and not re.search(r"\.(heat|recall) td small[^}]*opacity", page)
    )


def test_the_old_rule_of_two_inks_would_be_found_out() -> None:
    """Negative control: dark ink up to 66 %, white beyond, is below 4.5 in the ramp's middle."""
    ground, full = (parse_colour(colour) for colour in LIGHT.ramp)
    ink = parse_colour("#1c2430")
    shares = [step / 100 for step in range(101)]
    mixed = [tuple(round(a + (b - a) * share) for a, b in zip(ground, full, strict=True)) for share in shares]
    old = [contrast(WHITE if share > 0.66 else ink, colour) for share, colour in zip(shares, mixed, strict=True)]
    assert min(old) < CONTRAST


def test_a_darker_cell_is_a_larger_share() -> None:
    from reports.colours import heat_rules

    for theme, darker in ((LIGHT, True), (DARK, False)):
        bright = [luminance(parse_colour(ground)) for ground, _ in heat_rules(*theme.ramp)]
        assert bright == sorted(bright, reverse=darker)
    assert [heat_step(share) for share in (-1, 0, 0.5, 0.998, 1, 2)] == [0, 0, 10, 20, 20, 20]


@pytest.mark.parametrize("mode", ["light", "dark"])
def test_every_text_colour_can_be_read_on_its_ground(page, mode) -> None:
    light, dark = split_modes(style_of(page))
    colours = variables(light) | (variables(dark) if mode == "dark" else {})
    pairs = [(text, ground) for text in ("ink", "soft") for ground in ("page", "card", "unclear-wash")]
    pairs += [("accent", "page"), ("accent", "card"), ("warn", "warn-wash")]
    pairs += [(tone, ground) for tone in ("helped", "hurt", "unclear") for ground in ("card", f"{tone}-wash")]
    for text, ground in pairs:
        found = contrast(parse_colour(colours[text]), parse_colour(colours[ground]))
        assert found >= CONTRAST, f"{text} on {ground}: {found:.2f}"
    # The grey pill as it was.
    assert contrast(parse_colour("#6b7280"), parse_colour("#eef0f3")) < CONTRAST


def test_figures_have_the_page_s_colours(page) -> None:
    light, dark = split_modes(style_of(page))
    for theme, colours in ((LIGHT, variables(light)), (DARK, variables(dark))):
        assert (theme.background, theme.ink) == (colours["card"], colours["ink"])
        assert (theme.helped, theme.hurt, theme.unclear) == (colours["helped"], colours["hurt"], colours["unclear"])
        assert theme.ramp == (colours["card"], colours["accent"])


def test_long_words_may_break_and_wide_things_scroll(page) -> None:
    style = style_of(page)
    anywhere = re.search(r"([^{}]*)\{ overflow-wrap: anywhere; \}", style).group(1)
    for tag in ("h1", "h2", "p", "li", "dt", "dd", "figcaption", "summary", "code"):
        assert re.search(rf"\b{tag}\b", anywhere), tag
    assert re.search(r"\.scroll \{ overflow-x: auto;", style)
    body = page[page.index("<body>") :]
    for tag in ("<table", "<picture"):
        for match in re.finditer(tag, body):
            before = body[: match.start()]
            assert before.rfind('class="scroll') > before.rfind("</div>"), body[match.start() : match.start() + 80]


MEASURE = """<script>onload = () => {
  const d = document.querySelector("iframe").contentDocument, w = d.defaultView;
  const rgb = text => text.match(/[\\d.]+/g).map(Number);
  const lum = c => c.slice(0, 3).map(v => (v /= 255) <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = e => {
    for (; e; e = e.parentElement) {
      const c = rgb(w.getComputedStyle(e).backgroundColor);
      if (c.length < 4 || c[3] > 0) return c;
    }
    return [255, 255, 255];
  };
  const faint = [], wide = [];
  let texts = 0;
  for (const e of d.querySelectorAll("body *")) {
    if (![...e.childNodes].some(n => n.nodeType == 3 && n.textContent.trim())) continue;
    if (!e.getClientRects().length || e.closest(".skip")) continue;
    texts++;
    const [a, b] = [lum(rgb(w.getComputedStyle(e).color)), lum(ground(e))].sort((x, y) => y - x);
    const ratio = (a + .05) / (b + .05);
    if (ratio < 4.5) faint.push(e.tagName + "." + e.className + " " + ratio.toFixed(2));
    if (!e.closest(".scroll, pre") && e.getBoundingClientRect().right > d.documentElement.clientWidth + 1)
      wide.push(e.tagName + "." + e.className + " " + e.textContent.slice(0, 30));
  }
  document.title = JSON.stringify({texts, faint, wide, width: d.documentElement.scrollWidth});
}</script>"""


def lay_out(page: str, folder: Path, *, width: int, dark: bool = False) -> dict:
    """What a browser makes of the page in a frame of `width` px, for its own window can't be narrower than 500."""
    page = page.replace("<details>", "<details open>")
    page = page.replace(DARK_MODE, "all" if dark else "not all")
    frame = f'<iframe style="border:0" width={width} height=900 srcdoc="{html.escape(page)}"></iframe>'
    shown = shown_by_browser(f"<!doctype html><title></title>{frame}{MEASURE}", folder)
    return json.loads(html.unescape(re.search(r"<title>(.*?)</title>", shown, re.S).group(1)))


def shown_by_browser(page: str, folder: Path) -> str:
    """The document that a browser makes of a page, its scripts run."""
    (folder / "frame.html").write_text(page, encoding="utf-8")
    flags = "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    flags += " --disable-component-update --disable-sync --hide-scrollbars --virtual-time-budget=5000 --dump-dom"
    command = [BROWSER, *flags.split(), f"--user-data-dir={folder / 'profile'}", (folder / "frame.html").as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium or Chrome on the PATH lays the page out")


@needs_browser
@pytest.mark.parametrize("width", [320, 390, 768, 1280])
def test_the_page_is_no_wider_than_the_screen(page, tmp_path, width) -> None:
    found = lay_out(page, tmp_path, width=width)
    assert found["texts"] > 500 and found["width"] <= width and found["wide"] == []


@needs_browser
def test_what_got_into_the_page_all_the_same_does_not_run(page, tmp_path) -> None:
    """The content security policy, behind the escaping: no script, neither by an element nor by an attribute."""
    script = '<script>document.body.dataset.ran = "element"</script>'
    attribute = '<img src="data:," onerror="document.body.dataset.ran = \'attribute\'">'
    policy = re.search(r'<meta http-equiv="Content-Security-Policy"[^>]*>', page).group(0)
    for number, harm in enumerate((script, attribute)):
        harmed = page.replace('<main id="main">', f'<main id="main">{harm}')
        for place, text in (("kept", harmed), ("without", harmed.replace(policy, ""))):
            folder = tmp_path / f"{place}-{number}"
            folder.mkdir()
            assert ("data-ran=" in shown_by_browser(text, folder)) == (place == "without")


@needs_browser
@pytest.mark.parametrize("dark", [False, True])
def test_every_text_that_a_browser_shows_can_be_read(page, tmp_path, dark) -> None:
    assert lay_out(page, tmp_path, width=1280, dark=dark)["faint"] == []


@needs_browser
def test_the_browser_would_find_a_path_that_does_not_break(page, tmp_path) -> None:
    """Negative control, and one for the contrast."""
    broken = page.replace("overflow-wrap: anywhere;", "").replace("overflow-wrap: break-word;", "")
    broken = broken.replace("--unclear: #565e6b", "--unclear: #6b7280")
    found = lay_out(broken, tmp_path, width=390)
    assert found["width"] > 390 and found["wide"] and any("pill" in text for text in found["faint"])
