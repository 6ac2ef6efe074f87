"use strict";

const readJson = (id) => { const element = document.getElementById(id); return element ? JSON.parse(element.textContent) : {}; };
const plain = (text) => text.replaceAll("\u2212", "-"); // the minus of print, as a keyboard has it
const number = (text) => { const found = plain(text).match(/[-+]?[\d.,]+/); return found ? parseFloat(found[0].replace(/,/g, "")) : NaN; };

// Tables: a heading sorts by its column, numbers as numbers; a word filters the rows.
for (const table of document.querySelectorAll("table.sortable")) {
  const body = table.tBodies[0];
  table.querySelectorAll("thead th").forEach((heading, column) => heading.firstElementChild.addEventListener("click", () => {
    const down = heading.getAttribute("aria-sort") === "ascending";
    table.querySelectorAll("thead th").forEach((other) => other.removeAttribute("aria-sort"));
    heading.setAttribute("aria-sort", down ? "descending" : "ascending");
    const rows = [...body.rows].map((row) => ({ row, text: row.cells[column].dataset.sort ?? row.cells[column].textContent.trim() }));
    const numbers = rows.filter(({ text }) => text !== "–" && text !== "").every(({ text }) => !Number.isNaN(number(text)) && /^[-+\u2212\d<]/.test(text));
    const missing = (text) => text === "–" || text === "";
    rows.sort((a, b) => missing(a.text) - missing(b.text)
      || (down ? -1 : 1) * (numbers ? number(a.text) - number(b.text) : a.text.localeCompare(b.text)));
    rows.forEach(({ row }) => body.append(row));
  }));
  const filter = document.querySelector(`[data-filters="${table.id}"]`);
  const count = document.querySelector(`[data-counts="${table.id}"]`);
  filter.addEventListener("input", () => {
    const word = plain(filter.value.trim().toLowerCase());
    for (const row of body.rows) row.hidden = !plain(row.textContent.toLowerCase()).includes(word);
    count.textContent = word ? `${[...body.rows].filter((row) => !row.hidden).length} of ${body.rows.length} rows` : "";
  });
}

// Charts, in the colours of the page.
const charts = readJson("charts");
const dark = window.matchMedia("(prefers-color-scheme: dark)");
function drawCharts() {
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
  const ink = colour("--ink"), soft = colour("--soft"), line = colour("--line");
  const config = {
    background: "transparent", title: { color: ink }, view: { stroke: line },
    axis: { labelColor: ink, titleColor: soft, gridColor: line, domainColor: line, tickColor: line },
    legend: { labelColor: ink, titleColor: soft }, header: { labelColor: ink, titleColor: soft }, rule: { color: soft },
    range: { category: dark.matches ? ["#5ab4e8", "#f39a5a", "#43c59e", "#e3a1c8"] : ["#0072b2", "#d55e00", "#009e73", "#cc79a7"] },
  };
  for (const place of document.querySelectorAll("[data-chart]")) {
    window.vegaEmbed(place, { ...charts[place.dataset.chart], title: undefined }, { actions: false, renderer: "svg", config, ast: false });
  }
}
if (window.vegaEmbed) {
  drawCharts();
  dark.addEventListener("change", drawCharts);
}

// Galleries: one tile of the sheet fades into another.
for (const figure of document.querySelectorAll("figure.morph")) {
  const [source, result] = figure.querySelectorAll(".stage div");
  const [face, target] = figure.querySelectorAll("select");
  const slider = figure.querySelector("input"), stage = figure.querySelector(".stage");
  const edge = 192, columns = Number(figure.dataset.columns), rows = Number(figure.dataset.rows);
  for (const layer of [source, result]) {
    layer.style.backgroundImage = `url("${figure.dataset.file}")`;
    layer.style.backgroundSize = `${edge * columns}px ${edge * rows}px`;
  }
  const show = () => {
    source.style.backgroundPosition = `0px ${-edge * face.value}px`;
    result.style.backgroundPosition = `${-edge * target.value}px ${-edge * face.value}px`;
    result.style.opacity = slider.value / 100;
    slider.setAttribute("aria-valuetext", `${slider.value} % of the target`);
    const [of, to] = [face, target].map((control) => control.selectedOptions[0].text);
    stage.setAttribute("aria-label", `Face ${of}, ${slider.value} % of the way to ${to} by ${stage.dataset.by}`);
  };
  for (const control of [face, target, slider]) control.addEventListener("input", show);
  show();
}

// Two runs, side by side.
const compared = readJson("compared");
const [first, second, measure, comparison, note] = ["first", "second", "measure", "comparison", "comparison-note"].map((id) => document.getElementById(id));
if (comparison) {
  const cells = (texts, heading) => texts.map((text, place) => {
    const cell = document.createElement(heading || !place ? "th" : "td");
    if (cell.tagName === "TH") cell.scope = heading ? "col" : "row";
    cell.textContent = text;
    return cell;
  });
  const offer = () => {
    const measures = new Set([first, second].flatMap((run) => Object.values(compared[run.value].rows).flatMap((row) => Object.keys(row))));
    const chosen = measure.value;
    measure.replaceChildren(...[...measures].map((name) => new Option(name, name, name === chosen, name === chosen)));
  };
  const show = () => {
    const [one, other] = [first, second].map((run) => compared[run.value]);
    const write = (value) => (value === undefined ? "–" : value.toFixed(2).replace("-", "\u2212"));
    const comparable = one.data === other.data;
    note.textContent = `${first.value}: ${one.about}. ${second.value}: ${other.about}.`
      + (comparable ? "" : " The two are of different data, so that their figures have no difference that means anything.");
    const head = document.createElement("tr");
    head.append(...cells(["row", first.value, second.value, "second \u2212 first"], true));
    comparison.tHead.replaceChildren(head);
    const rows = [...new Set([one, other].flatMap((run) => Object.keys(run.rows)))];
    comparison.tBodies[0].replaceChildren(...rows.map((row) => {
      const line = document.createElement("tr"), [a, b] = [one, other].map((run) => run.rows[row]?.[measure.value]);
      line.append(...cells([row, write(a), write(b), comparable && a !== undefined && b !== undefined ? write(b - a) : "–"]));
      return line;
    }));
  };
  for (const control of [first, second]) control.addEventListener("input", () => { offer(); show(); });
  measure.addEventListener("input", show);
  offer();
  show();
}
