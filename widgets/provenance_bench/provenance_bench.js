// ProvenanceBench: state is in the model's traits (see widgets/provenance_bench.py), commands are messages {type: ...}.

const ALPHAS = [0.05, 0.01, 0.001, 1e-4, 1e-6];
const WORTH = { guaranteed: "✓ guaranteed if", approximate: "≈ approximate", waiting: "… not yet", void: "✕ not valid here", exact: "exact" };
const PAGE_COLOURS = { text: "var(--mn-text)", muted: "var(--mn-muted)", line: "var(--mn-line)", accent: "var(--mn-accent)", mark: "var(--mn-mark)", page: "var(--mn-bg)" };
const PAPER_COLOURS = { text: "#1c1c1c", muted: "#555555", line: "#d0d0d0", accent: "#0b61b8", mark: "#b35900", page: "#ffffff" };

const absent = (v) => v === null || v === undefined || Number.isNaN(v);
const many = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
const grouped = (n) => Math.round(n).toLocaleString("en");
/** A p-value; it is never 0. */
const pText = (p) => (absent(p) ? "–" : p < 1e-300 ? "< 1e-300" : p >= 0.001 ? String(Number(p.toPrecision(2))) : p.toExponential(1));
const short = (v) => { const size = Math.abs(v); return (size && (size < 1e-3 || size >= 1e6) ? v.toExponential(1) : String(Number(v.toPrecision(3)))).replace("-", "−"); };
/** A name as it was given, without characters that could deceive. */
const named = (text) => visible(text).replace(/·/g, " ");
/** A number given by its logarithm to base 10, which may be too large for a float. */
const power = (log) => (Math.abs(log) < 4 ? short(10 ** log) : `${(10 ** (log - Math.floor(log))).toFixed(1)}e${log < 0 ? "−" : "+"}${Math.abs(Math.floor(log))}`);

const svg = (tag, attributes = {}, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attributes)) if (!absent(v)) node.setAttribute(k, v);
  node.append(...children);
  return node;
};

/** About `count` round numbers from low to high. */
const ticks = (low, high, count) => {
  const raw = (high - low) / Math.max(1, count) || 1, size = 10 ** Math.floor(Math.log10(raw)), step = size * ([1, 2, 5].find((m) => m * size >= raw * 0.999) ?? 10), out = [];
  for (let v = Math.ceil(low / step - 1e-9); v * step <= high + 1e-9 * step; v++) out.push(v * step || 0);
  return out;
};

/** Axes with their titles; `X` and `Y` map values to the picture. */
const axes = (c, { width, height, title, under, label, x, y, xTicks, yTicks, xTitle, yTitle, grid = true }) => {
  const left = 58, right = width - 22, top = 42, bottom = height - 40, text = (attributes, words) => svg("text", { style: `fill:${c.muted}`, "font-size": 10.5, ...attributes }, words);
  const X = (v) => left + ((v - x[0]) / (x[1] - x[0] || 1)) * (right - left), Y = (v) => bottom - ((v - y[0]) / (y[1] - y[0] || 1)) * (bottom - top);
  const root = svg("svg", { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label, "font-family": "system-ui, DejaVu Sans, Arial, sans-serif", "font-size": 11 },
    text({ x: 2, y: 13, "font-size": 12, "font-weight": 600, style: `fill:${c.text}` }, title), text({ x: 2, y: 27 }, under));
  for (const [v, words] of yTicks) { if (grid) root.append(svg("line", { x1: left, x2: right, y1: Y(v), y2: Y(v), style: `stroke:${c.line}`, "stroke-width": 0.7 })); root.append(text({ x: left - 6, y: Y(v) + 3.5, "text-anchor": "end" }, words)); }
  for (const [v, words, below] of xTicks) { root.append(text({ x: X(v), y: bottom + 14, "text-anchor": "middle" }, words)); if (below) root.append(text({ x: X(v), y: bottom + 26, "text-anchor": "middle", "font-size": 9.5 }, below)); }
  root.append(svg("line", { x1: left, x2: right, y1: bottom, y2: bottom, style: `stroke:${c.muted}` }), text({ x: (left + right) / 2, y: height - 2, "text-anchor": "middle" }, xTitle),
    text({ transform: `translate(11 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, yTitle));
  return { root, X, Y, left, right, top, bottom, text };
};

/** e against rows on a log axis, with the line at which the rule stops. */
const eChart = (c, f, width, height) => {
  const most = Math.max(f.stop, ...f.path_e), least = Math.min(0, ...f.path_e), low = Math.max(-8, Math.floor(Math.min(least, -0.5) - 0.001)), high = most + 0.12 * (most - low), total = Math.max(f.fields.rows - f.left_out, f.n, 4);
  const step = Math.max(1, ...[1, 2, 3, 5, 10, 20, 50, 100].filter((s) => (high - low) / s >= 4)), marks = [];
  for (let v = Math.ceil(low / step) * step; v <= high; v += step) marks.push([v, v >= 0 && v < 4 ? grouped(10 ** v) : v < 0 && v > -3 ? String(10 ** v) : `1e${v}`]);
  const line = `e = ${power(f.stop)}${f.fields.rule === "e" ? ": stop" : ` (α = ${f.fields.alpha})`}`;
  const a = axes(c, { width, height, title: "e-value by rows", under: f.e_under, label: `e-value against rows, log axis: now ${power(f.log10_e)} after ${many(f.n, "row")}; ${f.fields.rule === "e" ? "the rule stops" : "the level is reached"} at ${power(f.stop)}.`,
    x: [0, total], y: [low, high], xTicks: ticks(0, total, Math.max(2, width / 90)).map((v) => [v, grouped(v)]), yTicks: marks, xTitle: "rows used", yTitle: "e-value, log scale" });
  a.root.append(svg("line", { x1: a.left, x2: a.right, y1: a.Y(f.stop), y2: a.Y(f.stop), style: `stroke:${c.mark}`, "stroke-width": 1.6, "stroke-dasharray": "6 4" }), a.text({ x: a.left + 5, y: a.Y(f.stop) - 5, style: `fill:${c.text}` }, line));
  if (!f.path_n.length) return a.root;
  const at = [...f.path_n].map((n, i) => [a.X(n), a.Y(Math.max(low, f.path_e[i]))]), last = at.at(-1), flip = last[0] > a.right - 80;
  a.root.append(svg("path", { d: `M${at.map((p) => p.map((v) => v.toFixed(1)).join(" ")).join("L")}`, style: `fill:none;stroke:${c.accent}`, "stroke-width": 1.8, "stroke-linejoin": "round" }), svg("circle", { cx: last[0], cy: last[1], r: 3.5, style: `fill:${c.accent}` }),
    a.text({ x: last[0] + (flip ? -8 : 8), y: last[1] + (flip ? -7 : 4), "text-anchor": flip ? "end" : "start", "font-weight": 600, style: `fill:${c.text};stroke:${c.page};stroke-width:3px;paint-order:stroke` }, power(f.log10_e)));
  return a.root;
};

const scoreName = (f) => (!f.against || f.fields.statistic === "none" ? "NLL of the suspect" : f.fields.statistic === "difference" ? "NLL, suspect − reference" : "residual NLL");

/** Mean score with its interval in each tenth of the rows by position, and how many rows each has. */
const quantileChart = (c, f, width, height) => {
  const k = f.q_n.length, values = [...f.q_mean, ...f.q_low, ...f.q_high].filter((v) => !absent(v)), low = Math.min(...values), high = Math.max(...values), pad = 0.08 * (high - low) || 0.01, y = [low - pad, high + pad];
  const at = (i) => (f.q_at.length ? ` (position ${short(f.q_at[i])})` : ""), bins = [...f.q_n].map((_, i) => i), thin = Math.ceil((42 * k) / width);
  const a = axes(c, { width, height, title: "Mean score by position", under: `${f.unit}; ${short(100 * f.level)} % interval (approximate)`, label: `Mean ${scoreName(f)} in ${k} groups of rows, earliest to latest: ${bins.map((i) => short(f.q_mean[i])).join(", ")} ${f.unit}.`,
    x: [-0.6, k - 0.4], y, xTicks: bins.filter((i) => i % thin === 0).map((i) => [i, f.q_at.length ? short(Number(f.q_at[i].toPrecision(2))) : String(i + 1), grouped(f.q_n[i])]), yTicks: ticks(y[0], y[1], 4).map((v) => [v, short(v)]),
    xTitle: f.q_at.length ? `position in training (${f.kind}), earliest to latest` : "tenth of the rows by position, earliest to latest", yTitle: `${scoreName(f)}` });
  a.root.append(a.text({ x: a.left - 6, y: a.bottom + 26, "text-anchor": "end", "font-size": 9.5 }, "rows"));
  if (!absent(f.mean)) a.root.append(svg("line", { x1: a.left, x2: a.right, y1: a.Y(f.mean), y2: a.Y(f.mean), style: `stroke:${c.muted}`, "stroke-dasharray": "2 3" }, svg("title", {}, `mean of all rows ${short(f.mean)}`)));
  for (const i of bins) {
    const x = a.X(i), mark = svg("g", { style: `stroke:${c.accent};fill:${c.accent}`, "stroke-width": 1.5 }, svg("title", {}, `${i + 1} of ${k}${at(i)}: ${short(f.q_mean[i])} [${short(f.q_low[i])}, ${short(f.q_high[i])}] ${f.unit}, ${many(f.q_n[i], "row")}`));
    if (!absent(f.q_low[i])) mark.append(svg("path", { d: `M${x} ${a.Y(f.q_low[i])}V${a.Y(f.q_high[i])}M${x - 4} ${a.Y(f.q_low[i])}h8M${x - 4} ${a.Y(f.q_high[i])}h8` }));
    mark.append(svg("circle", { cx: x, cy: a.Y(f.q_mean[i]), r: 4 })); a.root.append(mark);
  }
  return a.root;
};

/** The statistic under random orders of the same rows, and the one observed. */
const nullChart = (c, f, width, height) => {
  const edges = f.null_edges, low = Math.min(edges[0], f.observed, 0), high = Math.max(edges.at(-1), f.observed, 0), pad = 0.06 * (high - low), top = Math.max(...f.null_counts) * 1.16;
  const a = axes(c, { width, height, title: "Null distribution", under: `${grouped(f.draws)} random orders of the same rows`, label: `Histogram of the rank correlation under ${grouped(f.draws)} random orders, from ${short(edges[0])} to ${short(edges.at(-1))}; observed ${short(f.observed)}.`,
    x: [low - pad, high + pad], y: [0, top], xTicks: ticks(low - pad, high + pad, Math.max(3, width / 80)).map((v) => [v, short(v)]), yTicks: ticks(0, top, 4).filter((v) => Number.isInteger(v)).map((v) => [v, grouped(v)]), xTitle: "rank correlation rho of score and position", yTitle: "orders" });
  for (let i = 0; i < f.null_counts.length; i++) if (f.null_counts[i]) a.root.append(svg("rect", { x: a.X(edges[i]), y: a.Y(f.null_counts[i]), width: Math.max(0.6, a.X(edges[i + 1]) - a.X(edges[i]) - 0.4), height: a.bottom - a.Y(f.null_counts[i]), style: `fill:${c.accent};opacity:.55` }));
  const x = a.X(f.observed), end = x > (a.left + a.right) / 2;
  a.root.append(svg("line", { x1: x, x2: x, y1: a.top - 4, y2: a.bottom, style: `stroke:${c.mark}`, "stroke-width": 2.4 }), a.text({ x: x + (end ? -6 : 6), y: a.top + 6, "text-anchor": end ? "end" : "start", "font-weight": 600, style: `fill:${c.text};stroke:${c.page};stroke-width:3px;paint-order:stroke` }, `observed ${short(f.observed)}`));
  return a.root;
};

/** The found trait with its buffers as arrays. */
const readFound = (raw) => {
  if (!raw || !raw.fields) return null;
  const found = { ...raw };
  for (const name of ["path_n", "path_e", "q_n", "q_mean", "q_low", "q_high", "q_at", "null_counts", "null_edges"]) found[name] = floats(raw[name]);
  return found;
};
const quantilesCsv = (f) => { let text = "part,position_middle,rows,mean,low,high\r\n"; f.q_n.forEach((n, i) => { text += csvLine([i + 1, f.q_at[i] ?? NaN, n, f.q_mean[i], f.q_low[i], f.q_high[i]]); }); return text; };

function render({ model, el }) {
  const { undo, send, listen } = connect(model), info = model.get("model_info");
  const push = (values) => { for (const [k, v] of Object.entries(values)) model.set(k, v); send("move", { fields: values }); stale(); };
  const { inputs, bound, shown, flush, choose } = tiedControls(model, listen, push);
  const amount = (name, more) => bound(name, h("input", { type: "number", step: 1, ...more }));

  // --- the question
  const transcripts = model.get("transcripts"), rowsOf = new Map(transcripts.map(([name, n]) => [name, n])), alphas = [...new Set([...ALPHAS, model.get("alpha")])].sort((a, b) => b - a);
  const suspect = choose("suspect", model.get("suspects").map((s) => [s, shorten(named(s), 60)])), transcript = choose("transcript", transcripts.map(([name, n]) => [name, `${shorten(named(name), 50)} (${many(n, "row")})`]));
  const reference = choose("reference", [...model.get("references").map(([name, said]) => [name, `${shorten(named(name), 40)} (${said})`]), ["", "no reference (little power)"]]);
  const rows = amount("rows", { min: 4 }), statistic = choose("statistic", model.get("statistics")), alpha = choose("alpha", alphas.map((v) => [v, String(v)]));
  const refused = h("div", { class: "mn-error", role: "alert", "data-testid": "refused", hidden: true }), doubts = h("div", { class: "mn-warning", role: "status", "data-testid": "doubts", hidden: true });
  const start = () => { flush(); send("run", { fields: shown() }); };
  const { run, error, draw: drawRun, element: runRow } = runControls(model, () => root, { title: "Ask row by row (Ctrl+Enter in a field)", start, stop: () => send("stop") });
  const stop = runRow.querySelector("[data-testid=stop]"); stop.title = "Stop after the rows in progress; the e-value stays valid"; runRow.querySelector(".mn-progress").setAttribute("aria-label", "Rows asked");
  const form = h("div", {}, h("div", { class: "mn-controls" }, field("Suspect", suspect), field("Transcript (the order asked about)", transcript), field("Reference", reference), field("Score of a row", statistic)),
    h("div", { class: "mn-controls" }, field("Stop rule", choose("rule", model.get("rules"))), field("Level α", alpha), field("Rows, at most", rows), field("Seed of the rows’ sequence", amount("seed", { min: 0 })), runRow), refused, doubts, error);
  const drawForm = () => {
    if (![...alpha.options].some((o) => Number(o.value) === model.get("alpha"))) { alpha.append(option(model.get("alpha"), String(model.get("alpha")))); alpha.value = model.get("alpha"); }
    const n = rowsOf.get(model.get("transcript")) ?? 0, d = model.get("doubts"); rows.max = n; statistic.disabled = !model.get("reference");
    setText(rows.closest("label").querySelector(".mn-label"), `${model.get("rule") === "e" ? "Rows, at most" : "Rows, fixed"} (of ${grouped(n)})`);
    const now = d.transcript === model.get("transcript") && d.reference === model.get("reference");
    refused.hidden = !now || !d.refused; refused.replaceChildren(...(refused.hidden ? [] : [h("strong", { text: "This reference is refused: nothing is run with it" }), h("pre", { text: d.refused })]));
    const here = found && !changed().length ? found.warnings : [], texts = now ? (d.texts ?? []).filter((t) => !here.includes(t)) : [];
    doubts.hidden = !texts.length; doubts.replaceChildren(...(texts.length ? [h("strong", { text: "Before you run: " }), h("ul", {}, ...texts.map((t) => h("li", { text: t })))] : []));
    if (!refused.hidden && model.get("error").text === d.refused) error.hidden = true;
  };

  // --- the answer
  let found = null;
  const empty = h("div", { class: "mn-empty", "data-testid": "empty" }, h("strong", { text: "Nothing asked yet" }), h("p", { text: "“Run” asks rows of the transcript one after another, in a random sequence that is blind to their order, and tests whether the suspect finds later rows easier than the reference does. The e-value may be watched and the run stopped at any time: no positions are shown while rows come." }));
  const what = h("span", { class: "mn-note", "data-testid": "what" }), old = h("div", { class: "mn-warning", "data-testid": "stale", hidden: true }), verdict = h("div", { class: "mn-verdict", "data-testid": "verdict", role: "status" }), warnings = h("div", { class: "mn-warning", "data-testid": "warnings", hidden: true });
  const numbers = h("div", { class: "mn-tablebox", "data-testid": "numbers" }), eBox = h("div", { class: "mn-chart", "data-testid": "e-chart" }), qBox = h("div", { class: "mn-chart", "data-testid": "quantiles" }), nullBox = h("div", { class: "mn-chart", "data-testid": "null" });
  const rests = h("div", { class: "mn-note", "data-testid": "conditions", hidden: true });
  const qTable = h("details", { class: "mn-numbers" }, h("summary", { text: "Rows by position as a table" }), h("div", { class: "mn-tablebox" })), meaning = h("p", { class: "mn-note" });
  const body = h("div", {}, verdict, warnings, h("div", { class: "mn-answer" }, h("div", {}, numbers, rests), h("div", { class: "mn-charts" }, eBox, nullBox)), qBox, qTable, meaning);
  const answer = h("section", { class: "mn-section", "data-testid": "answer", "aria-label": "Answer" }, h("div", { class: "mn-side-head" }, h("h3", { text: "Does it depend on this order?" }), what), old, empty, body);
  const changed = () => (found ? Object.entries(found.fields).filter(([k, v]) => String(shown()[k]) !== String(v)).map(([k]) => k) : []);
  const stale = () => { const now = changed(), running = ["running", "stopping"].includes(model.get("status")); old.hidden = !now.length || running; setText(old, old.hidden ? "" : `The fields have changed (${now.join(", ")}). What stands here is of ${found.what}; press Run for the new question.`); };
  const worth = (kind) => h("span", { class: "mn-worth", "data-worth": kind, text: WORTH[kind] });
  const line = (name, value, kind, why) => h("tr", { "data-worth": kind, "data-row": name }, h("th", { scope: "row", text: name }), h("td", { class: "mn-value" }, h("span", { text: value })), h("td", {}, worth(kind), h("span", { class: "mn-why", text: why })));
  const head = (...titles) => h("thead", {}, h("tr", {}, ...titles.map((t) => h("th", { scope: "col", text: t }))));
  const drawAnswer = () => {
    found = readFound(model.get("found")); empty.hidden = !!found; body.hidden = !found; drawer.files.hidden = !found; setText(what, found?.what ?? ""); stale(); if (!found) return;
    const f = found, percentLevel = `${short(100 * f.level)} %`, ready = !absent(f.rho);
    answer.setAttribute("data-n", f.n); answer.setAttribute("data-status", f.status); verdict.setAttribute("data-kind", f.verdict.kind);
    verdict.setAttribute("aria-live", f.verdict.kind === "running" ? "off" : "polite"); verdict.replaceChildren(h("strong", { text: f.verdict.lead }), h("span", { text: ` ${f.verdict.text}` }));
    warnings.hidden = !f.warnings.length; warnings.replaceChildren(...(f.warnings.length ? [h("strong", { text: "Warnings" }), h("ul", {}, ...f.warnings.map((t) => h("li", { text: t })))] : []));
    numbers.replaceChildren(h("table", { class: "mn-table mn-worths" }, head("number", "value", "what it is worth"), h("tbody", {},
      line("rows used", grouped(f.n), "exact", `of ${grouped(f.asked)} asked, ${grouped(f.fields.rows)} ${f.fields.rule === "e" ? "at most" : "planned"}${f.left_out ? `; ${grouped(f.left_out)} without a finite score left out` : ""}${f.tokens ? `; ${grouped(f.tokens)} tokens of the suspect` : ""}`),
      line("rho", ready ? `${short(f.rho)} [${short(f.low)}, ${short(f.high)}]` : "–", "approximate", ready ? `rank correlation of score and position; ${percentLevel} interval: ${f.interval}. Negative: later rows are remembered better` : "too few rows yet"),
      line("z", ready ? number(f.z) : "–", "exact", "mean 0 and variance 1 under random orders; no p-value by itself"),
      line("e-value", power(f.log10_e), f.e_kind, `evidence against chance; ${f.e_worth}`),
      ...(ready ? f.ps : []).map((p) => line(p.label, pText(p.p), p.worth, `${p.note}${p.at_floor && p.worth === "guaranteed" ? "; the smallest it can be" : ""}`)))));
    rests.hidden = !f.conditions.length; rests.replaceChildren(...(f.conditions.length ? [h("strong", { text: "Guaranteed if" }), h("ul", {}, ...f.conditions.map((t) => h("li", { text: t })))] : []));
    qTable.lastChild.replaceChildren(h("table", { class: "mn-table" }, head("part", "position", "rows", `mean, ${f.unit}`, percentLevel), h("tbody", {}, ...[...f.q_n].map((n, i) => h("tr", {}, h("th", { scope: "row", text: String(i + 1) }), ...[f.q_at.length ? short(f.q_at[i]) : "–", grouped(n), short(f.q_mean[i]), absent(f.q_low[i]) ? "–" : `${short(f.q_low[i])} to ${short(f.q_high[i])}`].map((t) => h("td", { class: "mn-value", text: t })))))));
    setText(meaning, f.meaning); drawCharts(); drawForm();
  };
  const panels = (c, widths) => [eChart(c, found, widths[0], 244), ...(found.q_n.length ? [quantileChart(c, found, widths[1], 250)] : []), ...(found.null_counts.length ? [nullChart(c, found, widths[2], 244)] : [])];
  const drawCharts = () => {
    if (!root.isConnected) return;
    root.setAttribute("data-dark", themeOf(root).dark); if (!found) return;
    const room = body.clientWidth || 900, two = room > 800, side = two ? (room - 24) / 2.15 : room, widths = [side, room, side], [e, q, n] = panels(PAGE_COLOURS, widths.map((w) => Math.max(280, Math.round(w))));
    eBox.replaceChildren(e); qBox.replaceChildren(...(q ? [q] : [])); nullBox.replaceChildren(...(n ? [n] : [])); qTable.hidden = !q;
  };
  const figure = () => sideBySide(panels(PAPER_COLOURS, [460, 520, 460]).map((node) => ({ text: new XMLSerializer().serializeToString(node), width: Number(node.getAttribute("width")), height: Number(node.getAttribute("height")) })));

  // --- the suspects compared
  const linesBox = h("div", { "data-testid": "lines" }), compare = h("section", { class: "mn-section", "aria-label": "Suspects compared" }, h("div", { class: "mn-side-head" }, h("h3", { text: "Suspects compared" })), linesBox);
  const drawLines = () => {
    const lines = model.get("lines"), level = model.get("alpha"), busy = ["running", "stopping"].includes(model.get("status"));
    if (!lines.length) { linesBox.replaceChildren(h("p", { class: "mn-note", text: "Each question that is asked gets a line here, and Holm’s correction is over all of them: asking more suspects, or one suspect in several ways, costs evidence." })); return; }
    const looked = new Set(lines.map((l) => l.suspect)).size, all = model.get("suspects").length, several = (key) => new Set(lines.map((l) => l[key])).size > 1;
    const how = (l) => `${l.rule === "e" ? "stop by e" : "fixed"}${several("statistic") ? `, ${l.statistic}` : ""}${several("seed") ? `, seed ${l.seed}` : ""}${l.status === "stopped" ? ", stopped by hand" : ""}`;
    linesBox.replaceChildren(h("p", { class: "mn-note", "data-testid": "looked", text: `${many(lines.length, "question")} asked about ${looked} of ${many(all, "suspect")}; Holm’s correction over ${lines.length === 1 ? "it" : `all ${lines.length}`}. The p of each line is guaranteed if the conditions beside its answer hold, also when it was stopped by hand: 1 / largest e, or for a fixed number of rows twice the smaller of that and the permutation p. A line whose p is only approximate counts as p = 1. A suspect not asked yet is not corrected for.` }),
      h("div", { class: "mn-tablebox" }, h("table", { class: "mn-table mn-lines" }, head("suspect", "reference", ...(several("transcript") ? ["transcript"] : []), "rows", "rho", "e", "p, guaranteed if", "Holm", `at α = ${level}`), h("tbody", {}, ...lines.map((l) => {
        const name = h("button", { type: "button", class: "mn-plain", text: named(l.suspect), "aria-label": `Show the answer for ${l.suspect}, question ${l.number}`, disabled: l.p === null || busy, onclick: () => send("show", { number: l.number }) });
        const cells = l.p === null ? [h("td", { class: "mn-wrap", colspan: 6, text: `could not be tested, counts as p = 1: ${l.note}` })] : [h("td", { class: "mn-value" }, h("span", { text: `${grouped(l.n)} ` }), h("span", { class: "mn-why", text: how(l) })),
          h("td", { class: "mn-value" }, absent(l.rho) ? "–" : short(l.rho), h("span", { class: "mn-why", text: absent(l.low) || absent(l.rho) ? "" : `${short(l.low)} to ${short(l.high)}, approx.` })), h("td", { class: "mn-value", text: power(l.log10_e) }), h("td", { class: "mn-value", text: pText(l.p), title: l.how }), h("td", { class: "mn-value", text: pText(l.holm) }),
          h("td", { class: "mn-wrap" }, h("strong", { text: l.reason ? `approximate: ${l.reason}` : l.holm <= level * (1 + 1e-9) ? "depends on this order" : "not shown" }), l.warnings ? h("span", { class: "mn-why", text: many(l.warnings, "warning") }) : null)];
        return h("tr", { "aria-current": found?.number === l.number ? "true" : null }, h("th", { scope: "row", class: "mn-wrap" }, name), h("td", { class: "mn-wrap", text: l.reference || "none" }), ...(several("transcript") ? [h("td", { class: "mn-wrap", text: l.transcript })] : []), ...cells);
      })))));
  };

  // --- export, and what changes with what
  const drawer = exportDrawer(model, (type, content) => send(type, { ...content, fields: shown() }), { stem: () => `provenance_${found.fields.suspect.replace(/[^\w-]+/g, "_")}`, figure, table: () => quantilesCsv(found), example: "report.html, report.json, rows.csv" });
  const file = (kind, text) => h("button", { type: "button", class: "mn-button", "data-testid": `document-${kind}`, text, onclick: () => send("document", { kind }) });
  drawer.files.querySelector("[data-testid=csv]").textContent = "Rows by position (CSV)";
  setText(drawer.files.querySelector(".mn-saverow .mn-label"), "Save on the kernel’s machine: report (.html, .json) or rows (.csv)");
  drawer.files.querySelector(".mn-buttons").prepend(file("html", "Report (HTML)"), file("json", "Result (JSON)"), file("csv", "Every row (CSV)"));
  let taken = model.get("document").number ?? 0;
  const take = () => { const d = model.get("document"); if (!d.number || d.number === taken) return; taken = d.number; download(`provenance_${(found?.fields.suspect ?? "result").replace(/[^\w-]+/g, "_")}.${d.kind}`, d.type, octets(d.data)); };
  const root = h("div", { class: "mnemoscope mn-prov", "data-testid": "provenance-bench", "data-lm-suppress-shortcuts": "true", role: "region", "aria-label": "Provenance bench",
    onkeydown: (e) => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); e.stopPropagation(); run.click(); } } },
    h("header", { class: "mn-header" }, h("h2", { text: "Provenance bench" }), h("span", { class: "mn-chip", "data-testid": "model", text: info.text })), form, answer, compare, drawer.element);
  mount(el, root);
  listen(["found"], () => { drawAnswer(); }); listen(["lines"], drawLines); listen(["doubts"], drawForm); listen(["suspect", "transcript", "reference", "rows", "statistic", "rule", "alpha", "seed"], () => { drawForm(); stale(); });
  listen(["alpha"], drawLines); listen(["status", "progress", "error"], () => { drawRun(); stale(); drawForm(); }); listen(["status", "found"], drawLines); listen(["saved", "code"], drawer.draw); listen(["document"], take);
  root.addEventListener("input", stale);
  undo.push(onTheme(drawCharts), onShown(root, answer, drawCharts), hideStatic(model.get("static_key")));
  drawAnswer(); drawForm(); drawRun(); drawLines(); drawer.draw();
  return () => { for (const f of undo) f(); };
}

export default { render };
