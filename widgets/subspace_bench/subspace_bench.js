// SubspaceBench: state is in the model's traits (see widgets/subspace_bench.py), commands are messages {type: ...}.
// The whole curve is here, so that a move of the slider is answered without the kernel.

const NAMES = { strict: "recited word for word", loose: "recited loosely (75 % right)", lev: "edit distance, share of tokens", exact_prefix: "right tokens from the start", nll: "loss of the suffix, nats/token" };
const KINDS = { sparsity: { title: "share of weights set to 0", unit: "sparsity", taken: "weights" }, kept: { title: "curvature mass kept", unit: "mass kept", taken: "coefficients" } };

/** Filled circles on a line for the edit, open squares on a dashed line for the control. */
const mark = (c, line, x, y, size = 4) => (line === "edit" ? svg("circle", { cx: x, cy: y, r: size, style: `fill:${c.accent};stroke:${c.page}`, "stroke-width": 1 })
  : svg("rect", { x: x - size + 0.5, y: y - size + 0.5, width: 2 * size - 1, height: 2 * size - 1, style: `fill:${c.page};stroke:${c.other}`, "stroke-width": 1.6 }));
const spanned = (low, high) => { const pad = 0.06 * (high - low) || 0.05; return [low - pad, high + pad]; };

/** One line a method with its intervals; `place(row, i)` gives x, `read(row)` [value, low, high]. */
const curves = (c, a, f, set, at, place, read, xSpan) => {
  for (const line of ["random", "edit"]) {
    const rows = [f.unedited, ...f[line]].map((row, i) => [row[set], i]), kind = line === "edit" ? "edit" : "control", colour = line === "edit" ? c.accent : c.other;
    const spots = rows.map(([row, i]) => { const [value, low, high] = read(row); return { x: a.X(place(row, i)), y: a.Y(value), low, high, value, i, row }; }).filter((s) => Number.isFinite(s.x) && Number.isFinite(s.y) && !absent(s.value));
    if (!spots.length) continue;
    a.root.append(svg("path", { d: `M${spots.map((s) => `${s.x.toFixed(1)} ${s.y.toFixed(1)}`).join("L")}`, style: `fill:none;stroke:${colour}`, "stroke-width": 1.6, "stroke-dasharray": line === "edit" ? null : "5 4" }));
    for (const s of spots) {
      const now = s.i === at, group = svg("g", { "data-point": s.i, "data-line": kind, style: `stroke:${colour}` }, svg("title", {}, `${s.i ? `${kind === "edit" ? f.method : f.control}, ${short(f.strengths[s.i - 1])}` : "unedited"}: ${short(s.value)} ${between(s.low, s.high)}`));
      if (!absent(s.low) && !absent(s.high)) group.append(svg("line", { x1: s.x, x2: s.x, y1: a.Y(s.low), y2: a.Y(s.high), "stroke-width": 1.2, opacity: now ? 1 : 0.45 }));
      const wide = xSpan?.(s.row); if (wide && !absent(wide[0])) group.append(svg("line", { x1: a.X(wide[0]), x2: a.X(wide[1]), y1: s.y, y2: s.y, "stroke-width": 1.2, opacity: now ? 1 : 0.45 }));
      group.append(mark(c, kind, s.x, s.y)); if (now) group.append(svg("circle", { cx: s.x, cy: s.y, r: 8.5, style: `fill:none;stroke:${c.text}`, "stroke-width": 1.8, class: "mn-here" }));
      a.root.append(group);
    }
  }
};
// Rises from near 0 to many nats: straight up to 0.1, then ever more compressed.
const bend = (v) => Math.asinh(v / 0.1);

const planeChart = (c, f, set, measure, at, width, height) => {
  const rows = [f.unedited, ...f.edit, ...f.random].map((r) => r[set]), xs = rows.flatMap((r) => [r.rise, r.rise_low, r.rise_high]).filter((v) => !absent(v)), most = Math.max(0.02, ...xs), bent = most > 1;
  const low = Math.min(0, ...xs), marks = bent ? [-1, -0.1, 0, 0.1, 0.3, 1, 3, 10, 30].filter((v) => v <= most && v >= low) : ticks(low, most, width / 110);
  const a = axes(c, { width, height, title: "Recitation against what it costs", label: `Trade-off: ${NAMES[measure]} against the rise of the clean loss; ${many(f.strengths.length, "point")} of ${f.method}, beside ${f.control}.`,
    x: { low: low - 0.04 * most, high: most * 1.05, map: bent ? bend : null, marks: marks.map((v) => [v, short(v)]), title: width < 360 ? `rise, nats per token${bent ? " (compressed)" : ""}` : `rise of the clean loss, nats per token${bent ? " (compressed above 0.1)" : ""}` }, y: { low: -0.04, high: 1.04, marks: [0, 0.25, 0.5, 0.75, 1].map((v) => [v, `${100 * v} %`]), title: measure === "strict" ? "recited word for word" : "recited loosely" } });
  curves(c, a, f, set, at, (row) => row.rise, (row) => [row[measure], row[`${measure}_low`], row[`${measure}_high`]], (row) => [row.rise_low, row.rise_high]);
  return a.root;
};
const strengthChart = (c, f, set, at, width, height, { title, read, y }) => {
  const names = ["none", ...f.strengths.map(short)], a = axes(c, { width, height, title, label: `${title} by ${KINDS[f.kind].title}: ${f.edit.map((r, i) => `${short(f.strengths[i])}: ${short(read(r[set])[0])}`).join(", ")}.`,
    x: { low: -0.4, high: names.length - 0.6, marks: names.map((t, i) => [i, t]), title: KINDS[f.kind].title }, y });
  a.root.append(svg("line", { x1: a.X(at), x2: a.X(at), y1: a.top, y2: a.bottom, style: `stroke:${c.muted}`, "stroke-width": 1, "stroke-dasharray": "2 3" }));
  curves(c, a, f, set, at, (_, i) => i, read); return a.root;
};
const reciteChart = (c, f, set, measure, at, width, height) => strengthChart(c, f, set, at, width, height, { title: NAMES[measure][0].toUpperCase() + NAMES[measure].slice(1), read: (r) => [r[measure], r[`${measure}_low`], r[`${measure}_high`]], y: { low: -0.04, high: 1.04, marks: [0, 0.5, 1].map((v) => [v, `${100 * v} %`]), title: "share of sequences" } });
const lossChart = (c, f, set, at, width, height) => {
  const values = [...f.edit, ...f.random].flatMap((r) => [r[set].rise, r[set].rise_low, r[set].rise_high]).filter((v) => !absent(v)), [low, high] = spanned(Math.min(0, ...values), Math.max(0.01, ...values)), bent = high > 1;
  return strengthChart(c, f, set, at, width, height, { title: "Clean loss over the unedited model", read: (r) => [r.rise, r.rise_low, r.rise_high], y: { low, high, map: bent ? bend : null, marks: (bent ? [-1, 0, 0.1, 0.3, 1, 3, 10, 30].filter((v) => v >= low && v <= high) : ticks(low, high, 5)).map((v) => [v, short(v)]), title: "rise, nats per token" } });
};

/** Shares that the edit takes, a row a matrix and a column a block. */
const layerMap = (c, f, point, theme, width, cursor) => {
  const { matrices, blocks, names } = f.grid, columns = blocks.length, cells = f.cellsAt(point), top = Math.max(1e-9, ...cells.filter((v) => !absent(v))), left = Math.max(40, ...matrices.map((m) => m.length * 6.4 + 10));
  const cw = Math.max(7, Math.min(46, (width - left - 6) / columns)), ch = 22, root = svg("svg", { xmlns: "http://www.w3.org/2000/svg", width: Math.ceil(left + cw * columns + 6), height: ch * matrices.length + 18, role: "img", "font-family": "system-ui, DejaVu Sans, Arial, sans-serif", "font-size": 10.5,
    viewBox: `0 0 ${Math.ceil(left + cw * columns + 6)} ${ch * matrices.length + 18}`, "aria-label": `Share of each layer’s ${KINDS[f.kind].taken} taken, ${matrices.length} matrices by ${columns} blocks, at most ${share(top)}.` });
  const every = Math.ceil(20 / cw), text = (x, y, words, more = {}) => svg("text", { x, y, style: `fill:${c.muted}`, ...more }, words);
  matrices.forEach((m, r) => { root.append(text(left - 6, r * ch + 15, m, { "text-anchor": "end" })); blocks.forEach((b, k) => {
    const v = cells[r * columns + k]; if (!names[r][k]) return;
    const colour = theme.single(absent(v) ? 0 : v / top), place = { x: left + k * cw, y: r * ch, width: cw - 1, height: ch - 1 };
    root.append(svg("rect", { ...place, "data-cell": r * columns + k, style: `fill:${css(colour)};stroke:${c.line}`, "stroke-width": 0.5 }, svg("title", {}, `${names[r][k]}: ${share(v)}`)));
    if (cw >= 34) root.append(text(left + k * cw + cw / 2, r * ch + 15, short(100 * v), { "text-anchor": "middle", "pointer-events": "none", style: `fill:${luminance(colour) > 0.45 ? "#1c1c1c" : "#f7f7f7"}` }));
    if (cursor === r * columns + k) root.append(svg("rect", { ...place, style: `fill:none;stroke:${c.text}`, "stroke-width": 2.4 }));
  }); });
  blocks.forEach((b, k) => { if (k % every === 0) root.append(text(left + (k + 0.5) * cw, ch * matrices.length + 13, String(b), { "text-anchor": "middle" })); });
  return root;
};

const readFound = (raw) => {
  if (!raw || !raw.unedited) return null;
  const cells = floats(raw.cells), size = raw.grid.matrices.length * raw.grid.blocks.length;
  return { ...raw, texts: readTexts(raw.texts), cellsAt: (point) => [...cells.subarray((point - 1) * size, point * size)] };
};
const COLUMNS = ["strict", "strict_low", "strict_high", "loose", "loose_low", "loose_high", "lev", "exact_prefix", "nll", "loss", "rise", "rise_low", "rise_high", "ndcg"];
const rowsOf = (f) => [["unedited", NaN, 0, f.unedited], ...["edit", "random"].flatMap((line) => f[line].map((r, i) => [line === "edit" ? "edit" : "control", f.strengths[i], f.shares[i], r]))].flatMap(([line, s, taken, r]) => f.sets.map((set) => ({ line, strength: s, share_taken: taken, sequences: set, n: r[set].n, ...Object.fromEntries(COLUMNS.map((k) => [k, r[set][k] ?? NaN])) })));

function render({ model, el }) {
  const { undo, send, listen } = connect(model), info = model.get("model_info"), names = model.get("names");
  const push = (values) => { for (const [k, v] of Object.entries(values)) model.set(k, v); send("move", { fields: values }); stale(); };
  const { inputs, bound, shown, flush, choose, line } = tiedControls(model, listen, push);
  const fieldsNow = () => { const all = shown(); all.at = model.get("at"); return all; };

  // --- the question
  const sets = (what) => choose(what, names[what].map(([name, text]) => [name, shorten(plainly(text), 60)]));
  const sparsities = line("sparsities", "0.005, 0.01, 0.02"), kept = line("kept", "0.9, 0.8, 0.7"), sparsityField = field("Points: share of weights set to 0", sparsities), keptField = field("Points: curvature mass kept", kept);
  sparsityField.classList.add("mn-grow"); keptField.classList.add("mn-grow");
  const start = () => { flush(); send("run", { fields: fieldsNow() }); };
  const { run, error, draw: drawRun, element: runRow } = runControls(model, () => root, { title: "Compute the curve; points that are there are not computed again (Ctrl+Enter in a field)", start, stop: () => send("stop") });
  setText(run, "Compute curve"); const stop = runRow.querySelector("[data-testid=stop]"); stop.title = "Stop after the point in progress; finished points stay, and the weights are restored"; runRow.querySelector(".mn-progress").setAttribute("aria-label", "Points computed");
  const refused = h("div", { class: "mn-error", role: "alert", "data-testid": "refused", hidden: true });
  const form = h("div", {}, h("div", { class: "mn-controls" }, field("Memorised text", sets("memorised")), field("Reference text", sets("reference")), field("Method", choose("method", model.get("methods"))), field("Seed", bound("seed", h("input", { type: "number", min: 0, step: 1 })))),
    h("div", { class: "mn-controls" }, sparsityField, keptField, runRow), refused, error);
  const kindNow = () => (model.get("method") === "curvature" ? "kept" : "sparsity");
  const drawForm = () => {
    sparsityField.hidden = kindNow() !== "sparsity"; keptField.hidden = kindNow() !== "kept";
    const d = model.get("doubts"), now = ["memorised", "reference", "seed"].every((k) => d[k] === model.get(k));
    refused.hidden = !now || !d.refused; refused.replaceChildren(...(refused.hidden ? [] : [h("strong", { text: "These sets overlap: nothing is run with them" }), h("pre", { text: d.refused })]));
    if (!refused.hidden && model.get("error").text === d.refused) error.hidden = true;
  };

  // --- the curve
  let found = null, cursor = -1;
  const empty = h("div", { class: "mn-empty", "data-testid": "empty" }, h("strong", { text: "No curve yet" }), h("p", { text: "“Compute curve” finds the weights that hold the memorised text, takes more and more of them out, and measures at each point how much is still recited and what clean text loses, beside a random edit of equal size. The weights are restored after every point." }));
  const what = h("span", { class: "mn-note", "data-testid": "what" }), old = h("div", { class: "mn-warning", "data-testid": "stale", hidden: true }), notes = h("div", { class: "mn-warning", "data-testid": "notes", hidden: true });
  const slider = h("input", { type: "range", min: 0, max: 1, step: 1, "data-testid": "at", "aria-label": "Point of the curve" }), here = h("output", { "data-testid": "here" }), sliderName = h("span", { class: "mn-label" });
  const measure = choose("measure", [["strict", "word for word"], ["loose", "loosely, 75 % right"]]), set = h("select", { "data-testid": "set" }), key = h("div", { class: "mn-key" });
  const plane = h("div", { class: "mn-chart", "data-testid": "plane" }), recited = h("div", { class: "mn-chart", "data-testid": "recited" }), loss = h("div", { class: "mn-chart", "data-testid": "loss" }), numbers = h("div", { "data-testid": "numbers" });
  const map = h("div", { class: "mn-chart", tabindex: "0", role: "group", "data-testid": "layers", "aria-label": "Layer map; arrow keys read its cells" }), cell = h("div", { class: "mn-note", "data-testid": "cell", role: "status" }), mapTitle = h("h3", {});
  const unchanged = h("p", { class: "mn-note", "data-testid": "unchanged" });
  const moves = h("div", { class: "mn-moves" }, h("div", { class: "mn-field mn-slide" }, h("span", {}, sliderName, here), slider), field("Recitation", measure), field("of the sequences", set));
  const body = h("div", {}, notes, moves, key, h("div", { class: "mn-two" }, plane, h("div", {}, recited, loss)), numbers, unchanged);
  const curve = h("section", { class: "mn-section", "data-testid": "curve", "aria-label": "Trade-off curve" }, h("div", { class: "mn-side-head" }, h("h3", { text: "How much is recited, and what that costs" }), what), old, empty, body);
  const place = () => (found ? Math.max(0, Math.min(model.get("at"), found.strengths.length)) : 0);
  const move = (to) => { const at = Math.max(0, Math.min(to, found.strengths.length)); model.set("at", at); send("move", { fields: { at } }); drawPoint(); };
  slider.oninput = () => { if (found) move(Number(slider.value)); };
  for (const box of [plane, recited, loss]) box.addEventListener("click", (e) => { const at = e.target.closest("[data-point]"); if (at && found) move(Number(at.dataset.point)); });
  set.onchange = () => drawPoint();
  const changed = () => (found ? Object.entries(found.fields).filter(([k, v]) => String(model.get(k)) !== String(v)).map(([k]) => k) : []);
  const stale = () => { const now = changed(), busy = ["running", "stopping"].includes(model.get("status")); old.hidden = !now.length || busy; setText(old, old.hidden ? "" : `The fields have changed (${now.join(", ")}). What stands here is of ${found.what}; press “Compute curve” for the new question.`); };

  // --- one point
  const texts = h("div", { "data-testid": "texts" }), textsTitle = h("span", { class: "mn-note" });
  const forceText = h("p", { "data-testid": "force", role: "status" }), putButton = h("button", { type: "button", class: "mn-button", "data-testid": "put", onclick: () => send("put", { fields: { at: place() } }) }), undoButton = h("button", { type: "button", class: "mn-button", "data-testid": "undo", onclick: () => send("undo") });
  const weights = h("div", { class: "mn-weights", "data-testid": "weights" }, putButton, undoButton, forceText), pointBox = h("div", {}, h("section", { class: "mn-section", "aria-label": "Weights" }, h("div", { class: "mn-side-head" }, h("h3", { text: "Weights" })), weights),
    h("section", { class: "mn-section", "aria-label": "Layer map" }, h("div", { class: "mn-side-head" }, mapTitle), map, cell), h("section", { class: "mn-section", "aria-label": "Texts before and after" }, h("div", { class: "mn-side-head" }, h("h3", { text: "Texts before and after" }), textsTitle), LEGEND(), texts));
  const hash = (v) => (v ? v.slice(0, 12) : "…");
  const drawForce = () => {
    const f = model.get("force"), at = place(), busy = ["running", "stopping"].includes(model.get("status")), name = at ? `${KINDS[found.kind].unit} ${short(found.strengths[at - 1])}` : "";
    weights.setAttribute("data-state", f.state); putButton.disabled = busy || !at || !!f.doing; setText(putButton, at ? `Put ${name} in force` : "Put an edit in force"); undoButton.disabled = f.state !== "in force";
    setText(undoButton, f.state === "in force" ? "Undo: weights back, bit-equal" : f.state === "undone" && f.same ? "Undone: weights bit-equal" : "Undo");
    const said = f.state === "in force" ? `In force: ${f.what}. Weight hash ${hash(f.before)} → ${hash(f.now)}; whatever the notebook asks this model now is answered by the edited one.` : f.state === "undone" ? `Undone (${f.what}): weight hash ${hash(f.now)}, ${f.same ? `unchanged from ${hash(f.before)} before the edit` : `NOT the ${hash(f.before)} from before`}.` : f.state === "error" ? "" : "The model has its own weights. The curve undoes its edits itself; here one can be left in force, to try the edited model in the notebook.";
    forceText.replaceChildren(f.doing ?? said, ...(f.text ? [h("strong", { class: "mn-bad", text: ` ${f.text}` })] : []));
  };
  const row = (values, name, write) => [write(values[name]), between(values[`${name}_low`], values[`${name}_high`], write)];
  const drawPoint = () => {
    if (!found || !root.isConnected) { drawForce(); return; }
    const at = place(), f = found, now = set.value || f.sets[0], u = f.unedited[now], e = at ? f.edit[at - 1][now] : null, r = at ? f.random[at - 1][now] : null, unit = KINDS[f.kind], level = `${short(100 * info.level)} %`;
    slider.max = f.strengths.length; slider.value = at; setText(sliderName, `${unit.title[0].toUpperCase() + unit.title.slice(1)}: `); setText(here, at ? `${short(f.strengths[at - 1])} (${share(f.shares[at - 1])} of all ${unit.taken} taken)` : "none, the unedited model");
    slider.setAttribute("aria-valuetext", at ? `${unit.unit} ${short(f.strengths[at - 1])}: ${share(e[model.get("measure")])} recited, clean loss ${short(e.rise)} nats higher` : "unedited"); curve.setAttribute("data-at", at);
    numbers.replaceChildren(dataTable("point", ["", `unedited, n = ${u.n}`, at ? `${unit.unit} ${short(f.strengths[at - 1])}` : "–", at ? f.control : "–"], [...["strict", "loose", "lev", "exact_prefix", "nll"].map((k) => { const write = k === "strict" || k === "loose" || k === "lev" ? share : short; return [NAMES[k], row(u, k, write), e ? row(e, k, write) : "–", r ? row(r, k, write) : "–"]; }),
      [`clean loss, nats/token (${many(u.texts, "text")})`, [short(u.loss), ""], e ? [short(e.loss), ""] : "–", r ? [short(r.loss), ""] : "–"], ["its rise over unedited", "–", e ? row(e, "rise", short) : "–", r ? row(r, "rise", short) : "–"], ["nDCG@10 to unedited, clean text", [short(u.ndcg), ""], e ? [short(e.ndcg), ""] : "–", r ? [short(r.ndcg), ""] : "–"]]),
    h("p", { class: "mn-note", text: `${level} intervals: exact (Clopper–Pearson) for shares recited, bootstrap over sequences or texts for the others. ${f.sets.length > 1 ? "“kept apart”: the half of the sequences that the edit was not found on." : "Too few sequences to halve: recitation is of those that the edit was found on."} Control: one draw.` }));
    const under = at ? [["before", 0], [`after, ${short(f.strengths[at - 1])}`, at]] : [["before", 0]];
    texts.replaceChildren(...f.texts.items.map((item, i) => textBlock(f.texts, i, under, item.what === "clean" ? "clean text, half of it given" : item.what)));
    setText(textsTitle, `memorised sequences ${f.texts.items[0] ? `(${f.texts.items[0].what}, best recited first)` : ""} and clean text`); setText(mapTitle, at ? `What the edit takes from each layer, ${unit.unit} ${short(f.strengths[at - 1])}` : "What the edit takes from each layer: nothing yet"); drawForce(); drawCharts();
  };
  const charts = (c, widths) => { const at = place(), now = set.value || found.sets[0], m = model.get("measure"); return [planeChart(c, found, now, m, at, widths[0], 330), reciteChart(c, found, now, m, at, widths[1], 168), lossChart(c, found, now, at, widths[1], 168)]; };
  const drawMap = () => {
    const at = place(), f = found; map.hidden = cell.hidden = !at || !f.grid.matrices.length; if (map.hidden) return;
    map.replaceChildren(layerMap(PAGE_COLOURS, f, at, themeOf(root), (root.clientWidth || 900) - 30, document.activeElement === map ? cursor : -1));
    const size = f.grid.blocks.length, name = cursor >= 0 ? f.grid.names[Math.floor(cursor / size)]?.[cursor % size] : ""; const taken_ = KINDS[f.kind].taken; setText(cell, `A column a block; % of the layer’s ${taken_}, strongest shade ${share(Math.max(...f.cellsAt(at).filter((v) => !absent(v))))}.${name ? ` ${name}: ${share(f.cellsAt(at)[cursor])}.` : ""}`);
  };
  const drawCharts = () => {
    if (!found || !root.isConnected) return;
    root.setAttribute("data-dark", themeOf(root).dark); const room = body.clientWidth || 900, side = Math.max(260, Math.round(room > 780 ? (room - 24) / 2 : room)), [p, r, l] = charts(PAGE_COLOURS, [side, side]);
    plane.replaceChildren(p); recited.replaceChildren(r); loss.replaceChildren(l); drawMap();
  };
  map.onkeydown = (e) => {
    const size = found?.grid.blocks.length, step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -size, ArrowDown: size }[e.key]; if (!step || !found) return;
    e.preventDefault(); e.stopPropagation(); const next = cursor < 0 ? 0 : cursor + step; if (next >= 0 && next < size * found.grid.matrices.length) cursor = next; drawMap();
  };
  map.onfocus = () => { if (cursor < 0) cursor = 0; if (found) drawMap(); }; map.onblur = () => { if (found) drawMap(); };
  map.addEventListener("click", (e) => { const at = e.target.closest("[data-cell]"); if (at) { cursor = Number(at.dataset.cell); drawMap(); } });
  const drawCurve = () => {
    found = readFound(model.get("found")); for (const box of [body, pointBox, drawer.files]) box.hidden = !found; empty.hidden = !!found; setText(what, found?.what ?? ""); stale(); drawForm(); if (!found) { drawForce(); return; }
    const f = found, before = set.value; set.replaceChildren(...f.sets.map((s) => option(s, `${s} (${f.unedited[s].n})`))); set.value = f.sets.includes(before) ? before : f.sets[0]; curve.setAttribute("data-points", f.strengths.length);
    const none = noneRecited(f.unedited[f.sets[0]], f.sets[0]), said = [...(none ? [none] : []), ...f.notes, ...f.failed.map(([s, text]) => `Left out: ${s}. ${text[0].toUpperCase()}${text.slice(1)}`)]; notes.hidden = !said.length; notes.replaceChildren(h("ul", {}, ...said.map((t) => h("li", { text: t }))));
    key.replaceChildren(...[["edit", f.method], ["control", `${f.control} (control)`]].map(([line, text]) => h("span", {}, svg("svg", { width: 26, height: 12, "aria-hidden": "true" }, svg("line", { x1: 0, x2: 26, y1: 6, y2: 6, style: `stroke:var(${line === "edit" ? "--mn-accent" : "--mn-other"})`, "stroke-width": 1.6, "stroke-dasharray": line === "edit" ? null : "5 4" }), mark(PAGE_COLOURS, line, 13, 6)), text)), h("span", { text: "◯ the point chosen" }));
    const [a, b] = f.hashes; setText(unchanged, !a ? "" : a === b ? `Weight hash before and after all points: ${hash(a)}, unchanged.` : `Weight hash ${hash(a)} before, ${hash(b)} after: the model was changed meanwhile.`); drawPoint();
  };

  // --- export, and what changes with what
  const stem = () => `subspace_${found.fields.method}_${found.fields.memorised}`.replace(/[^\w-]+/g, "_");
  const csv = () => { const rows = rowsOf(found); return [Object.keys(rows[0]), ...rows.map((r) => Object.values(r))].map(csvLine).join(""); };
  const figure = () => sideBySide(charts(PAPER_COLOURS, [470, 430]).map(drawn));
  const drawer = exportDrawer(model, (type, content) => send(type, { ...content, fields: fieldsNow() }), { stem, figure, table: csv, example: "curve.zarr, curve.nc, curve.csv, mask.npz" });
  setText(drawer.files.querySelector("[data-testid=csv]"), "Curve (CSV)"); setText(drawer.files.querySelector(".mn-saverow .mn-label"), "Save on the kernel’s machine: the curve (.zarr, .nc, .csv, .parquet) or the mask shown (.npz)");
  drawer.files.querySelector(".mn-buttons").append(h("button", { type: "button", class: "mn-button", "data-testid": "json", text: "Curve (JSON)", onclick: () => download(`${stem()}.json`, "application/json", JSON.stringify({ ...found.fields, kind: found.kind, control: found.control, level: info.level, layers: found.grid.names.flat().filter(Boolean), model: info.name, weights: found.hashes[0], points: rowsOf(found) }, (_, v) => (typeof v === "number" && !Number.isFinite(v) ? null : v), 1)) }),
    h("button", { type: "button", class: "mn-button", "data-testid": "npz", text: "Mask shown (npz)", onclick: () => send("document", { kind: "npz", fields: fieldsNow() }) }));
  let taken = model.get("document").number ?? 0;
  const take = () => { const d = model.get("document"); if (!d.number || d.number === taken) return; taken = d.number; download(`${stem()}.${d.kind}`, d.type, octets(d.data)); };
  const root = h("div", { class: "mnemoscope mn-memory", "data-testid": "subspace-bench", "data-lm-suppress-shortcuts": "true", role: "region", "aria-label": "Subspace bench",
    onkeydown: (e) => { if (e.key === "Enter" && (e.ctrlKey || e.metaKey)) { e.preventDefault(); e.stopPropagation(); run.click(); } } },
    h("header", { class: "mn-header" }, h("h2", { text: "Subspace bench" }), h("span", { class: "mn-chip", "data-testid": "model", text: info.text })), form, curve, pointBox, drawer.element);
  mount(el, root);
  listen(["found"], drawCurve); listen(["at", "measure"], drawPoint); listen(["doubts"], drawForm); listen(["force"], drawForce); listen(["memorised", "reference", "method", "seed"], () => { drawForm(); stale(); });
  listen(["status", "progress", "error"], () => { drawRun(); stale(); drawForm(); drawForce(); }); listen(["saved", "code"], drawer.draw); listen(["document"], take);
  undo.push(onTheme(drawCharts), onShown(root, curve, drawCharts), hideStatic(model.get("static_key")));
  drawCurve(); drawForm(); drawRun(); drawer.draw();
  return () => { for (const f of undo) f(); };
}

export default { render };
