// Sorting, filtering, plots and details of trials. Texts are inserted as textContent only.
"use strict";
let DATA;
const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const NUM_COLOURS = 6;
const MAX_DOTS = 2000;  // above this number dots have no tooltips
const PAGE = 100;  // trials on each page of the table

function make(tag, attributes = {}, children = [], space = null) {
  const node = space ? document.createElementNS(space, tag) : document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  for (const child of [].concat(children)) node.append(child);
  return node;
}
const draw = (tag, attributes, children) => make(tag, attributes, children, SVG);

// Decompress the data: deflated JSON in base64. The security policy refuses fetch, even of a data URI.
async function unpack() {
  const bytes = Uint8Array.from(atob($("data").textContent), (letter) => letter.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

// --- tables ---------------------------------------------------------------------------------

const COLLATOR = new Intl.Collator("en", { numeric: true });
const order = (a, b) => (typeof a === "number" && typeof b === "number" ? a - b : COLLATOR.compare(String(a), String(b)));
const wordsOf = (input) => input.value.toLowerCase().split(/\s+/).filter(Boolean);

function sortBy(table, column, header) {
  const down = header.getAttribute("aria-sort") === "ascending";
  table.querySelectorAll("th[aria-sort]").forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", down ? "descending" : "ascending");
  const key = (row) => {
    const cell = row.cells[column];
    const text = cell.dataset.value ?? cell.textContent;
    const number = Number(text);
    return text.trim() === "" || Number.isNaN(number) ? text.toLowerCase() : number;
  };
  const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => (down ? order(b, a) : order(a, b)));
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  [...table.tHead.rows[0].cells].forEach((header, column) => {
    const button = make("button", { type: "button" }, header.textContent);
    header.replaceChildren(button);
    button.addEventListener("click", () => sortBy(table, column, header));
  });
}

for (const input of document.querySelectorAll("[data-filter]")) {
  const rows = [...$("table-" + input.dataset.filter).tBodies[0].rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const count = document.querySelector(`[data-count="${CSS.escape(input.dataset.filter)}"]`);
  input.addEventListener("input", () => {
    const words = wordsOf(input);
    let shown = 0;
    rows.forEach((row, k) => {
      row.hidden = !words.every((word) => texts[k].includes(word));
      shown += !row.hidden;
    });
    count.textContent = words.length ? `${shown} of ${rows.length} rows` : "";
  });
}

// Show the comparisons by one metric at a time. Without JavaScript all are visible.
function startComparisons() {
  const select = $("compared");
  const choose = () => document.querySelectorAll("[data-compared]").forEach((part) => { part.hidden = part.dataset.compared !== select.value; });
  select.closest(".tools").hidden = false;
  select.addEventListener("change", choose);
  choose();
}
startComparisons();

// --- plots ----------------------------------------------------------------------------------

function canvas(place, width, height, label) {
  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label });
  place.replaceChildren(svg);
  return svg;
}

function absent(place, why) {
  place.replaceChildren(make("p", { class: "absent" }, `Not shown: ${why}.`));
}

function legend(place, entries) {
  const item = ([colour, text]) => make("li", {}, [make("i", { class: colour, "aria-hidden": "true" }), text]);
  place.append(make("ul", { class: "legend" }, entries.map(item)));
}

const round = (value) => (Math.abs(value) >= 1000 || (value !== 0 && Math.abs(value) < 1e-3) ? value.toExponential(1) : String(Number(value.toFixed(3))));
const path = (xs, ys) => xs.map((x, k) => `${k ? "L" : "M"}${x.toFixed(1)},${ys[k].toFixed(1)}`).join("");

// The smallest of 1, 2, 2.5 and 5 times a power of ten that is at least a given number.
function step(least) {
  const power = 10 ** Math.floor(Math.log10(least > 0 ? least : 1));
  return [1, 2, 2.5, 5, 10].map((k) => k * power).find((size) => size >= least * 0.999);
}
const axisEnd = (most) => 4 * step(most / 4);

// Draw the axes of a small plot; return functions from data values to coordinates.
function axes(svg, box, [x0, x1], [y0, y1], xName, yName) {
  const x = (v) => box.left + ((v - x0) / (x1 - x0 || 1)) * box.width;
  const y = (v) => box.top + box.height - ((v - y0) / (y1 - y0 || 1)) * box.height;
  for (let k = 0; k <= 4; k += 1) {
    const [vx, vy] = [x0 + ((x1 - x0) * k) / 4, y0 + ((y1 - y0) * k) / 4];
    svg.append(
      draw("line", { class: "axis", x1: x(x0), x2: x(x1), y1: y(vy), y2: y(vy) }),
      draw("text", { x: box.left - 8, y: y(vy) + 4, "text-anchor": "end" }, round(vy)),
      draw("text", { x: x(vx), y: box.top + box.height + 18, "text-anchor": "middle" }, round(vx)),
    );
  }
  const middle = box.top + box.height / 2;
  svg.append(
    draw("text", { x: box.left + box.width / 2, y: box.top + box.height + 38, "text-anchor": "middle" }, xName),
    draw("text", { x: 12, y: middle, "text-anchor": "middle", transform: `rotate(-90 12 ${middle})` }, yName),
  );
  return [x, y];
}

const BOX = { left: 58, top: 12, width: 400, height: 240 };
const small = (place, label) => canvas(place, 480, 300, label);
const name = (cell) => `${cell.model} × ${cell.pattern}`;
const colour = (k) => `c${k % NUM_COLOURS}`;

// Rows show the probability of the positive class, or with more than two classes that of their own.
const ofTwo = () => DATA.classes.length === 2;
const shownClass = () => (ofTwo() ? DATA.positive : "the right class");
const errorOf = (label, score) => (ofTwo() ? Math.abs(label - score) : 1 - score);

function plotSeeds(metric) {
  const place = $("plot-seeds");
  const cells = DATA.cells.filter((cell) => cell.values[metric]?.mean != null);
  if (!cells.length) return absent(place, "no trial is done");
  const all = cells.flatMap((cell) => {
    const value = cell.values[metric];
    return [...value.runs.map((s) => s[1]), ...(value.interval ?? []), value.published ?? value.mean];
  });
  const size = step((Math.max(...all) - Math.min(...all)) / 8 || 0.01);
  const [first, last] = [Math.floor(Math.min(...all) / size + 1e-9), Math.ceil(Math.max(...all) / size - 1e-9)];
  const [low, high] = [first * size, Math.max(last, first + 1) * size];
  const longest = Math.max(...cells.map((cell) => name(cell).length));
  const left = Math.min(330, Math.max(120, longest * 7.5 + 16));
  const [pitch, width, top] = [24, 1040, 8];
  const height = top + pitch * cells.length;
  const svg = canvas(place, width, height + 44, `${DATA.metrics[metric]} of each run, with mean and interval, by cell`);
  const x = (v) => left + ((v - low) / (high - low || 1)) * (width - left - 30);
  for (let k = 0; k <= Math.round((high - low) / size); k += 1) {
    const v = low + size * k;
    svg.append(
      draw("line", { class: "axis", x1: x(v), x2: x(v), y1: top, y2: height }),
      draw("text", { x: x(v), y: height + 18, "text-anchor": "middle" }, round(v)),
    );
  }
  svg.append(draw("text", { x: (left + width) / 2, y: height + 38, "text-anchor": "middle" }, DATA.metrics[metric]));
  const patterns = [...new Set(DATA.cells.map((cell) => cell.pattern))];
  const manyDots = cells.reduce((sum, cell) => sum + cell.values[metric].runs.length, 0) > MAX_DOTS;
  cells.forEach((cell, k) => {
    const value = cell.values[metric];
    const y = top + pitch * (k + 0.5);
    const c = colour(patterns.indexOf(cell.pattern));
    const shownName = name(cell).length * 7.5 > 318 ? `${name(cell).slice(0, 40)}…` : name(cell);
    svg.append(draw("text", { class: "strong", x: left - 12, y: y + 4, "text-anchor": "end" }, shownName));
    if (value.interval) {
      const [a, b] = value.interval;
      svg.append(draw("line", { class: c, x1: x(a), x2: x(b), y1: y, y2: y, "stroke-width": 2, "stroke-opacity": 0.6, "data-tip": `${name(cell)}\n95 % interval ${a.toFixed(3)} to ${b.toFixed(3)}` }));
    }
    if (manyDots) {
      const dots = value.runs.map((run) => `M${x(run[1]).toFixed(1)},${y}h0`).join("");
      svg.append(draw("path", { class: `${c} dots`, d: dots }));
    }
    for (const [run, score] of manyDots ? [] : value.runs) {
      svg.append(draw("circle", { class: c, cx: x(score), cy: y, r: 4, "fill-opacity": 0.55, "data-tip": `${name(cell)}\n${run}: ${score.toFixed(3)}` }));
    }
    svg.append(draw("line", { class: c, x1: x(value.mean), x2: x(value.mean), y1: y - 8, y2: y + 8, "stroke-width": 3, "data-tip": `${name(cell)}\nmean ${value.mean.toFixed(3)}` }));
    if (value.published != null) {
      const p = x(value.published);
      svg.append(draw("path", { class: "ring", d: `M${p},${y - 6}l6,6l-6,6l-6,-6z`, "data-tip": `${name(cell)}\npaper: ${value.published.toFixed(3)}` }));
    }
  });
  const entries = patterns.map((pattern, k) => [colour(k), pattern]);
  legend(place, [...entries, ["", "dot: run; vertical bar: mean; line: interval" + (cells.some((cell) => cell.values[metric].published != null) ? "; ◇ paper" : "")]]);
}

// Draw numbers, rows by columns; entry(row, column) gives a number or null, and a tip.
function heatMap(place, label, rows, columns, least, entry) {
  const entries = rows.map((_, r) => columns.map((_, c) => entry(r, c)));
  const numbers = entries.flat().map(([number]) => number).filter((v) => v != null);
  if (!numbers.length) return absent(place, "no trial is done");
  const [low, high] = [Math.min(...numbers), Math.max(...numbers)];
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 2)}…` : text);
  const left = Math.min(300, Math.max(100, Math.max(...rows.map((text) => text.length)) * 7.5 + 16));
  const width = Math.max(1040, left + columns.length * least);
  const [w, h, top] = [(width - left - 4) / columns.length, 36, 26];
  const svg = canvas(place, width, top + h * rows.length + 4, label);
  columns.forEach((text, c) => svg.append(draw("text", { x: left + w * (c + 0.5), y: 16, "text-anchor": "middle" }, cut(text, Math.max(4, Math.floor(w / 7.5))))));
  rows.forEach((text, r) => {
    svg.append(draw("text", { class: "strong", x: left - 12, y: top + h * (r + 0.5) + 4, "text-anchor": "end" }, cut(text, 38)));
    entries[r].forEach(([number, tip], c) => {
      const strength = number == null ? 0 : 0.08 + (0.42 * (number - low)) / (high - low || 1);
      const box = draw("rect", { x: left + w * c + 1, y: top + h * r + 1, width: w - 2, height: h - 2, rx: 4, class: "heat", "data-tip": tip });
      box.style.fill = number == null ? "none" : `rgba(var(--heat), ${strength})`;
      svg.append(box, draw("text", { class: "strong", x: left + w * (c + 0.5), y: top + h * (r + 0.5) + 4, "text-anchor": "middle", "pointer-events": "none" }, number == null ? "–" : number.toFixed(3)));
    });
  });
}

function plotHeat(metric) {
  const models = [...new Set(DATA.cells.map((cell) => cell.model))];
  const patterns = [...new Set(DATA.cells.map((cell) => cell.pattern))];
  const cells = new Map(DATA.cells.map((cell) => [JSON.stringify([cell.model, cell.pattern]), cell]));
  heatMap($("plot-heat"), `Mean ${DATA.metrics[metric]} of each cell, base models by patterns`, models, patterns, 72, (r, c) => {
    const cell = cells.get(JSON.stringify([models[r], patterns[c]]));
    const mean = cell?.values[metric]?.mean;
    return [mean, cell ? `${name(cell)}\n${mean == null ? cell.why || "no value yet" : `mean ${mean.toFixed(3)}`}` : "not in the plan"];
  });
}

function plotLanguages(metric) {
  const place = $("plot-languages");
  if (!place) return;
  const shown = DATA.languages[metric];
  if (!shown) return absent(place, "this metric has no scores by language");
  const { langs, cells, values } = shown;
  heatMap(place, `Mean ${DATA.metrics[metric]} of each cell in each test language`, langs, cells, 130, (r, c) => {
    const [mean, low, high] = values[r][c] ?? [];
    const interval = low == null ? "" : `\n95 % interval ${low.toFixed(3)} to ${high.toFixed(3)}`;
    return [mean, `${cells[c]} in ${langs[r]}\n${mean == null ? "no score" : `mean ${mean.toFixed(3)}${interval}`}`];
  });
}

// Rows are right classes, columns decided ones; colours are shares of a row.
function plotConfusion(cell) {
  const place = $("plot-confusion");
  const matrix = cell?.confusion;
  if (!matrix) return absent(place, cell?.why || "no run is done");
  const [names, num] = [DATA.classes, matrix.length];
  const cut = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
  const left = Math.min(260, Math.max(90, Math.max(...names.map((text) => text.length)) * 7.5 + 16));
  const width = Math.max(1040, left + num * 34);
  const [w, h, top] = [(width - left - 4) / num, 30, 46];
  const svg = canvas(place, width, top + h * num + 4, `Confusion matrix of ${name(cell)}: right classes by decided classes`);
  svg.append(draw("text", { x: left + (width - left) / 2, y: 14, "text-anchor": "middle" }, "called"));
  names.forEach((text, k) => svg.append(
    draw("text", { x: left + w * (k + 0.5), y: 36, "text-anchor": "middle" }, cut(text, Math.max(2, Math.floor(w / 7.5)))),
    draw("text", { class: "strong", x: left - 12, y: top + h * (k + 0.5) + 4, "text-anchor": "end" }, cut(text, 32)),
  ));
  matrix.forEach((counts, right) => {
    const total = counts.reduce((a, b) => a + b, 0);
    counts.forEach((count, decided) => {
      const share = count / (total || 1);
      const tip = `${names[right]}, called ${names[decided]}\n${count} of ${total} (${(100 * share).toFixed(1)} %)`;
      const box = draw("rect", { x: left + w * decided + 1, y: top + h * right + 1, width: w - 2, height: h - 2, rx: 4, class: "heat", "data-tip": tip });
      box.style.fill = `rgba(var(${right === decided ? "--heat" : "--against"}), ${(0.04 + 0.5 * share).toFixed(3)})`;
      svg.append(box, draw("text", { class: "strong", x: left + w * (decided + 0.5), y: top + h * (right + 0.5) + 4, "text-anchor": "middle", "pointer-events": "none" }, String(count)));
    });
  });
}

function plotCurves(cell) {
  const places = ["scores", "reliability", "roc", "pr"].map((id) => $(`plot-${id}`));
  if (!cell?.curves) return places.forEach((place) => absent(place, cell?.why || "no run is done"));
  const { negatives, positives, reliability, runs, num_runs } = cell.curves;
  const [scores, calibration, roc, pr] = places;

  let svg = small(scores, `Scores of ${name(cell)} by class`);
  const most = axisEnd(Math.max(...negatives, ...positives));
  let [x, y] = axes(svg, BOX, [0, 1], [0, most], `probability of ${DATA.positive}`, "share of class");
  [[negatives, "c0", "negative"], [positives, "c1", DATA.positive]].forEach(([shares, c, which]) => {
    shares.forEach((share, k) => {
      const [a, b] = [k / shares.length, (k + 1) / shares.length];
      svg.append(draw("rect", { class: `bar ${c}`, x: x(a), width: x(b) - x(a), y: y(share), height: y(0) - y(share), "data-tip": `${which}, ${a.toFixed(2)} to ${b.toFixed(2)}: ${(100 * share).toFixed(1)} %` }));
    });
  });
  svg.append(draw("line", { class: "guide", x1: x(0.5), x2: x(0.5), y1: BOX.top, y2: y(0) }));
  legend(scores, [["c0", "negative"], ["c1", DATA.positive], ["", "dashed: threshold 0.5"]]);

  svg = small(calibration, `Reliability of ${name(cell)}`);
  [x, y] = axes(svg, BOX, [0, 1], [0, 1], "mean probability", "share positive");
  svg.append(draw("path", { class: "guide", d: path([x(0), x(1)], [y(0), y(1)]) }));
  const [at, share, mass] = reliability;
  svg.append(draw("path", { class: "line c0", d: path(at.map(x), share.map(y)) }));
  at.forEach((v, k) => svg.append(draw("circle", { class: "c0", cx: x(v), cy: y(share[k]), r: 4, "data-tip": `probability ${v.toFixed(3)}\npositive ${share[k].toFixed(3)}\n${(100 * mass[k]).toFixed(1)} % of rows` })));
  legend(calibration, [["c0", "all runs"], ["", "dashed: perfect"]]);

  for (const [place, key, names, what] of [[roc, "roc", ["false positive rate", "true positive rate"], "ROC"], [pr, "pr", ["recall", "precision"], "Precision and recall"]]) {
    svg = small(place, `${what} of ${name(cell)}`);
    [x, y] = axes(svg, BOX, [0, 1], [0, 1], ...names);
    if (key === "roc") svg.append(draw("path", { class: "guide", d: path([x(0), x(1)], [y(0), y(1)]) }));
    runs.forEach((run, k) => {
      const [xs, ys] = run[key];
      svg.append(draw("path", { class: `line ${colour(k)}`, d: path(xs.map(x), ys.map(y)) }));
      xs.forEach((v, i) => svg.append(draw("circle", { class: "hit", cx: x(v), cy: y(ys[i]), r: 7, "data-tip": `${run.name}\n${names[0]} ${v.toFixed(3)}\n${names[1]} ${ys[i].toFixed(3)}` })));
    });
    const rest = num_runs > runs.length ? [["", `the first ${runs.length} of ${num_runs} runs`]] : [];
    legend(place, [...runs.map((run, k) => [colour(k), run.name]), ...rest]);
  }
}

// A table of test rows: the text, or the id if texts are not kept, then further columns.
function rowTable(label, heading, rows) {
  const head = make("tr", {}, ["test row", "class", ...heading].map((text) => make("th", { scope: "col" }, text)));
  const body = rows.map(([place, ...texts]) => {
    const [id, klass, text, pair, lang, published] = DATA.rows[place];
    const small = text === undefined ? [] : [[id, lang, published].filter(Boolean).join(" · ")];
    const first = make("th", { scope: "row", class: "text" }, text === undefined ? id : make("span", { lang }, text));
    for (const line of [pair, ...small].filter(Boolean)) first.append(make("small", {}, line));
    return make("tr", {}, [first, ...[DATA.classes[klass] ?? klass, ...texts].map((entry) => make("td", {}, String(entry)))]);
  });
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": label }, make("table", {}, [make("thead", {}, head), make("tbody", {}, body)]));
}

function showHard(cell) {
  $("hard-cell").textContent = cell ? name(cell) : "no cell";
  if (!cell?.hard) return absent($("hard"), cell?.why || "no run is done");
  if (!cell.hard.length) return absent($("hard"), "no run gets a row wrong");
  const num = cell.curves?.num_runs ?? cell.values[$("metric").value]?.runs.length ?? "all";
  const rows = cell.hard.map(([place, wrong, mean]) => [place, `${wrong} of ${num}`, mean.toFixed(3)]);
  $("hard").replaceChildren(rowTable("Rows that most runs get wrong", ["runs wrong", `mean probability of ${shownClass()}`], rows));
}

function startPlots() {
  const [metrics, cells] = [$("metric"), $("cell")];
  for (const [key, text] of Object.entries(DATA.metrics)) metrics.append(make("option", { value: key }, text));
  DATA.cells.forEach((cell, k) => cells.append(make("option", { value: k }, name(cell))));
  cells.value = String(Math.max(DATA.cells.findIndex((cell) => cell.curves || cell.confusion), 0));
  const plotMetric = () => { plotSeeds(metrics.value); plotHeat(metrics.value); plotLanguages(metrics.value); };
  const plotCell = () => { const cell = DATA.cells[Number(cells.value)]; (ofTwo() ? plotCurves : plotConfusion)(cell); showHard(cell); };
  metrics.addEventListener("change", plotMetric);
  cells.addEventListener("change", plotCell);
  plotMetric();
  plotCell();
}

document.addEventListener("pointermove", (event) => {
  const tip = $("tip");
  const text = event.target.dataset?.tip;
  const host = $("details").open ? $("details") : document.body;  // a modal dialog covers the rest of the page
  if (tip.parentNode !== host) host.append(tip);
  tip.hidden = !text;
  if (!text) return;
  tip.textContent = text;
  tip.style.left = `${Math.min(event.clientX + 14, innerWidth - tip.offsetWidth - 8)}px`;
  tip.style.top = `${Math.min(event.clientY + 14, innerHeight - tip.offsetHeight - 8)}px`;
});

// --- texts in colours ------------------------------------------------------------------------

const COLOURED_PAGE = 20;  // texts on each page of the list

function startColoured() {
  if (!DATA.explained) return;
  const { texts, cells } = DATA.explained;
  const [select, token, first] = [$("coloured-cell"), $("coloured-token"), $("coloured-order")];
  cells.forEach((cell, k) => select.append(make("option", { value: k }, name(DATA.cells[cell.cell]))));
  // Positions count characters, while JavaScript strings count UTF-16 units.
  const characters = texts.map(([text]) => Array.from(text));
  const pieces = (place) => {
    const [, , , ...ends] = texts[place];
    return Array.from({ length: ends.length / 2 }, (_, k) => [ends[2 * k], ends[2 * k + 1]]);
  };
  const piece = (place, [a, b]) => characters[place].slice(a, b).join("");
  const signed = (thousandths) => `${thousandths < 0 ? "−" : "+"}${(Math.abs(thousandths) / 1000).toFixed(3)}`;
  let [chosen, start] = [[], 0];

  function coloured(cell, k) {
    const [place, values] = [cell.texts[k], cell.values[k]];
    const [, lang, label] = texts[place];
    const body = make("p", { class: "text", lang });
    let at = 0;
    pieces(place).forEach(([a, b], n) => {
      if (a > at) body.append(characters[place].slice(at, a).join(""));
      if (b <= at) return;
      const shown = characters[place].slice(Math.max(a, at), b).join("");
      const mark = make("span", { class: values[n] < 0 ? "minus" : "plus", "data-tip": `${piece(place, [a, b])}\n${signed(values[n])}` }, shown);
      mark.style.setProperty("--share", (0.45 * Math.min(1, Math.abs(values[n]) / cell.most)).toFixed(3));
      body.append(mark);
      at = Math.max(at, b);
    });
    body.append(characters[place].slice(at).join(""));
    const strongest = values.map((v, n) => [v, n]).sort(([a], [b]) => Math.abs(b) - Math.abs(a)).slice(0, 3);
    const spans = pieces(place);
    const contributions = strongest.map(([v, n]) => `${piece(place, spans[n])} ${signed(v)}`).join(", ");
    const explained = cell.classes ? DATA.classes[cell.classes[k]] : DATA.positive;
    const verdict = `${DATA.classes[label] ?? label}; probability of ${explained} ${cell.scores[k].toFixed(3)}; wrong in ${cell.wrong[k]} of ${cell.runs} runs`;
    return make("li", {}, [body, make("small", {}, `${verdict}. ${contributions}`)]);
  }

  function show(from) {
    const cell = cells[select.value];
    start = from;
    const end = Math.min(start + COLOURED_PAGE, chosen.length);
    $("coloured-texts").replaceChildren(...chosen.slice(start, end).map((k) => coloured(cell, k)));
    $("coloured-texts").start = start + 1;
    $("coloured-previous").disabled = start === 0;
    $("coloured-next").disabled = end >= chosen.length;
  }

  function choose() {
    const cell = cells[select.value];
    const wanted = token.value.trim().toLowerCase();
    const all = cell.values.flat().map(Math.abs).sort((a, b) => a - b);
    cell.most ??= all[Math.floor(0.98 * all.length)] || 1;  // the largest values must not make all others pale
    const added = new Map();
    let [sum, num] = [0, 0];
    cell.texts.forEach((place, k) => {
      if (!wanted) { added.set(k, 0); return; }
      pieces(place).forEach((span, n) => {
        if (!piece(place, span).toLowerCase().includes(wanted)) return;
        added.set(k, (added.get(k) ?? 0) + cell.values[k][n]);
        sum += cell.values[k][n];
        num += 1;
      });
    });
    const label = (k) => texts[cell.texts[k]][2];
    const right = (k) => Number(cell.classes ? cell.classes[k] === label(k) : label(k));
    const far = (k) => Math.abs(cell.scores[k] - right(k));
    const orders = { wrong: (k) => -cell.wrong[k] - far(k), high: (k) => -cell.scores[k], low: (k) => cell.scores[k] };
    const key = wanted ? (k) => -Math.abs(added.get(k)) : orders[first.value];
    chosen = [...added.keys()].sort((a, b) => key(a) - key(b));
    $("coloured-count").textContent = wanted
      ? `${chosen.length} texts${num ? `, mean ${signed(sum / num)} per token; largest first` : ""}`
      : `${chosen.length} texts`;
    first.disabled = Boolean(wanted);
    show(0);
  }

  select.addEventListener("change", choose);
  first.addEventListener("change", choose);
  token.addEventListener("input", choose);
  $("coloured-previous").addEventListener("click", () => show(Math.max(start - COLOURED_PAGE, 0)));
  $("coloured-next").addEventListener("click", () => show(start + COLOURED_PAGE));
  choose();
}

// --- details of a trial ---------------------------------------------------------------------

function facts(lines) {
  return make("dl", { class: "facts" }, lines.map(([key, value]) => make("div", {}, [make("dt", {}, key), make("dd", {}, String(value))])));
}
const settings = (place) => facts(DATA.lists[place].map((text) => DATA.texts[text].split("\t")));

function part(body, title, content) {
  body.append(make("h3", {}, title), content);
}

function history(epochs, loss) {
  const place = make("div");
  const width = innerWidth < 700 ? 460 : 900;  // texts keep their size on a phone
  const svg = canvas(place, width, 260, "Training loss by epoch");
  const known = loss.map((v, k) => [epochs[k], v]).filter(([a, b]) => a != null && b != null);
  if (!known.length) { absent(place, "the loss is never a finite number"); return place; }
  const [xs, ys] = [known.map((p) => p[0]), known.map((p) => p[1])];
  const box = { left: 58, top: 12, width: width - 80, height: 200 };
  const [x, y] = axes(svg, box, [0, Math.ceil(Math.max(...xs))], [0, axisEnd(Math.max(...ys))], "epoch", "training loss");
  svg.append(draw("path", { class: "line c0", d: path(xs.map(x), ys.map(y)) }));
  known.forEach(([a, b]) => svg.append(draw("circle", { class: "hit", cx: x(a), cy: y(b), r: 6, "data-tip": `epoch ${a.toFixed(2)}\nloss ${b.toFixed(4)}` })));
  return place;
}

function worst(flat) {
  const rows = [];
  for (let k = 0; k < flat.length; k += 2) {
    const label = DATA.rows[flat[k]][1];
    rows.push([flat[k], flat[k + 1].toFixed(3), errorOf(label, flat[k + 1]).toFixed(3)]);
  }
  return rowTable("Test rows with the largest error", [`probability of ${shownClass()}`, "error"], rows);
}

function open(k) {
  const trials = DATA.trials;
  const body = $("details-body");
  $("details-title").textContent = `${trials.id[k]} – ${trials.state[k]}`;
  body.replaceChildren();
  if (trials.error[k]) part(body, "Error", make("pre", {}, trials.error[k]));
  const known = Object.entries(trials.values).filter(([, column]) => column[k] != null);
  if (known.length) part(body, "Metrics", facts(known.map(([metric, column]) => [DATA.names[metric], column[k].toFixed(4)])));
  if (trials.loss[k]) part(body, "Training", history(DATA.lists[trials.epochs[k]], trials.loss[k]));
  if (trials.worst[k]) part(body, "Test rows with the largest error", worst(trials.worst[k]));
  for (const why of trials.absent[k] ?? []) body.append(make("p", { class: "absent" }, `Not shown: ${why}.`));
  if (trials.spec[k] != null) part(body, "Settings", settings(trials.spec[k]));
  if (trials.signature[k] != null) part(body, "Made with", settings(trials.signature[k]));
  if (trials.timings[k]) {
    const [stages, ...seconds] = trials.timings[k];
    part(body, "Seconds", facts(DATA.lists[stages].map((stage, n) => [stage, seconds[n]])));
  }
  if (!body.childElementCount) body.append(make("p", { class: "absent" }, "The folder of this trial is empty."));
  $("details").showModal();
  $("details").scrollTop = 0;
}

document.addEventListener("click", (event) => {
  const button = event.target.closest?.(".open");
  if (button) open(Number(button.dataset.trial));
});
$("close").addEventListener("click", () => $("details").close());
$("details").addEventListener("click", (event) => { if (event.target === $("details")) $("details").close(); });

// --- table of trials: only the rows of the visible page exist, so that 10,000 trials stay fast ----

function startTrials() {
  const trials = DATA.trials;
  const number = (column, digits) => ({ key: (k) => column[k] ?? -1, text: (k) => column[k]?.toFixed(digits) ?? "–" });
  const columns = [
    ["trial", { text: (k) => trials.id[k] }],
    ["base model", { text: (k) => DATA.cells[trials.cell[k]].model }],
    ["pattern", { text: (k) => DATA.cells[trials.cell[k]].pattern }],
    ...(trials.draw ? [["draw", { key: (k) => trials.draw[k], text: (k) => String(trials.draw[k]) }]] : []),
    ["seed", { key: (k) => trials.seed[k], text: (k) => String(trials.seed[k]) }],
    ["state", { text: (k) => trials.state[k] }],
    ...Object.entries(DATA.metrics).map(([metric, title]) => [title, number(trials.values[metric], 3)]),
    ["fit, s", number(trials.seconds, 1)],
  ];
  const styles = { done: "good", failed: "bad", corrupt: "bad", missing: "none" };
  const texts = trials.id.map((_, k) => columns.slice(0, 5).map(([, column]) => column.text(k)).join(" ").toLowerCase());
  let chosen = [...trials.id.keys()];
  let start = 0;

  const body = make("tbody");
  const headers = columns.map(([title, column]) => {
    const button = make("button", { type: "button" }, title);
    const header = make("th", { scope: "col" }, button);
    button.addEventListener("click", () => {
      const down = header.getAttribute("aria-sort") === "ascending";
      headers.forEach((other) => other.removeAttribute("aria-sort"));
      header.setAttribute("aria-sort", down ? "descending" : "ascending");
      const key = column.key ?? column.text;
      all.sort((a, b) => (down ? -1 : 1) * order(key(a), key(b)));
      choose();
    });
    return header;
  });
  const all = [...chosen];
  $("table-trials").replaceChildren(make("thead", {}, make("tr", {}, headers)), body);

  function row(k) {
    const cells = columns.map(([, column], n) => {
      const text = column.text(k);
      if (n === 0) return make("th", { scope: "row" }, make("button", { type: "button", class: "open", "data-trial": k }, text));
      return make("td", {}, n === 4 ? make("span", { class: `badge ${styles[text]}` }, text) : text);
    });
    return make("tr", {}, cells);
  }
  function show(from) {
    start = from;
    body.replaceChildren(...chosen.slice(start, start + PAGE).map(row));
    const end = Math.min(start + PAGE, chosen.length);
    const of = chosen.length < all.length ? `${chosen.length} of ${all.length} trials` : `${all.length} trials`;
    $("trial-count").textContent = chosen.length > PAGE ? `${start + 1} to ${end} of ${of}` : of;
    $("trial-pages").hidden = chosen.length <= PAGE;
    $("trial-previous").disabled = start === 0;
    $("trial-next").disabled = end >= chosen.length;
    $("table-trials").parentNode.scrollTop = 0;
  }
  function choose() {
    const words = wordsOf($("trial-filter"));
    chosen = all.filter((k) => words.every((word) => texts[k].includes(word)));
    show(0);
  }
  $("trial-filter").addEventListener("input", choose);
  $("trial-previous").addEventListener("click", () => show(Math.max(start - PAGE, 0)));
  $("trial-next").addEventListener("click", () => show(start + PAGE));
  show(0);
}

// --- downloads ------------------------------------------------------------------------------------

function startDownloads() {
  const types = { csv: "text/csv;charset=utf-8", tex: "application/x-tex;charset=utf-8" };
  document.querySelectorAll(".downloads").forEach((place) => { place.hidden = false; });
  document.addEventListener("click", (event) => {
    const wanted = event.target.closest?.("[data-download]")?.dataset.download;
    if (!wanted) return;
    const [table, ending] = [wanted.slice(0, -4), wanted.slice(-3)];
    const blob = new Blob([DATA.files[table][ending === "csv" ? 0 : 1]], { type: types[ending] });
    const link = make("a", { download: `${DATA.experiment}-${wanted}`, href: URL.createObjectURL(blob) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  });
}

// --- reload of a watched page: it keeps its scroll position and waits while the reader has the details
// of a trial open or searches ------------------------------------------------------------------------

function watch(seconds) {
  const key = `xlt-scroll ${location.pathname}`;
  const kept = sessionStorage.getItem(key);
  if (kept) window.scrollTo({ top: Number(kept), behavior: "instant" });
  sessionStorage.removeItem(key);
  setInterval(() => {
    const searching = [...document.querySelectorAll("input")].some((input) => input.value || input === document.activeElement);
    if ($("details").open || searching) return;
    sessionStorage.setItem(key, String(scrollY));
    location.reload();
  }, seconds * 1000);
}

unpack().then((data) => {
  DATA = data;
  startPlots();
  startColoured();
  startTrials();
  startDownloads();
}).catch((error) => {
  $("failed").hidden = false;
  $("failed").textContent = `Plots, trials and downloads cannot be shown: ${error.message}. They need a browser from 2023 or later.`;
}).finally(() => {
  document.documentElement.dataset.ready = "";
  const seconds = Number(document.documentElement.dataset.watch);
  if (seconds) watch(seconds);
});
