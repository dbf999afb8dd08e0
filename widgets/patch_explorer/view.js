// PatchExplorer: the pair, the heat map, the selected cell, pins and runs.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { ColourBar } from "../base/colourbar.js";
import { field, h, option, setText, uniqueId } from "../base/dom.js";
import { exportDrawer } from "../base/export.js";
import { svgFigure } from "../base/figure.js";
import { HeatMap } from "../base/heatmap.js";
import { shell } from "../base/shell.js";
import { largest, number } from "../base/text.js";
import { tiedControls } from "../base/traits.js";
import { depthParts } from "./depth.js";
import { byPart, csvOf, describe, gridOf, place, QUANTITIES, readMap, SITES_OVER, tokensAt } from "./maps.js";
import { readoutParts } from "./readout.js";
import { cellParts, pinTable, runTable } from "./tables.js";

function render({ model, el }) {
  const frame = shell(model, {
    title: "Patch explorer",
    testid: "patch-explorer",
    name: "Patch explorer",
    kind: "mn-explorer",
    help: "Run this sweep",
    stop: "Stop after the layer in progress; finished layers stay",
    unit: "Layers computed",
    start: () => {
      flush();
      send("run", { fields: shown() });
    },
  });
  const { send, listen, set, root, row, error } = frame;

  // --- the question: prompts, answers, what to patch
  const { inputs, shown, flush, area, line, choose } = tiedControls(model, listen, set);
  const same = (names) => names.map((name) => [name, name]);
  const alignment = h("div", { class: "mn-note", "data-testid": "alignment" });
  const form = h(
    "div",
    { class: "mn-form" },
    field("Clean prompt", area("clean")),
    field("Corrupted prompt", area("corrupted")),
    h(
      "div",
      { class: "mn-pair" },
      field("Answer (after clean)", line("answer", "e.g. “ Paris”, with its space")),
      field("Foil (after corrupted)", line("foil", "optional for prob, logprob, rank, kl")),
    ),
    h(
      "div",
      { class: "mn-pair" },
      field("Text before both prompts", line("start", "none, e.g. <|endoftext|>")),
      alignment,
    ),
  );
  const controls = h(
    "div",
    { class: "mn-controls" },
    field("Site", choose("site", same(model.get("sites")))),
    field(
      "Map",
      choose(
        "over",
        model.get("overs").map((o) => [o, `layer × ${o}`]),
      ),
    ),
    field("Metric", choose("metric", same(model.get("metrics")))),
    field(
      "Direction",
      choose("direction", [
        ["denoise", "denoise: clean → corrupted run"],
        ["noise", "noise: corrupted → clean run"],
      ]),
    ),
    field(
      "Method",
      choose("method", [
        ["exact", "exact"],
        ["attribution", "attribution (AtP)"],
      ]),
    ),
    row,
  );
  const warning = h("div", { class: "mn-warning", "data-testid": "warning", hidden: true });

  // --- the map
  let map = null,
    other = null;
  const caption = h("div", { class: "mn-caption", "data-testid": "caption" });
  const show = h(
    "select",
    { "data-testid": "show", "aria-label": "Quantity shown" },
    ...Object.entries(QUANTITIES).map(([k, q]) => option(k, q.label)),
  );
  const scale = h(
    "select",
    { "data-testid": "scale", "aria-label": "Colour scale" },
    option("auto", "scale: largest value"),
    option("one", "scale: −1 to 1"),
  );
  show.value = model.get("show");
  show.onchange = () => set({ show: show.value });
  scale.onchange = () => draw();
  const cone = h("input", { type: "checkbox", "data-testid": "cone", checked: true, onchange: () => draw() });
  const mode = h(
    "select",
    { "data-testid": "compare-mode", "aria-label": "Compare with another run" },
    option("off", "compare: off"),
    option("side", "side by side with"),
    option("difference", "minus"),
  );
  const against = h("select", { "data-testid": "compare-run", "aria-label": "Run to compare with" });
  const compare = () => set({ compare: { mode: mode.value, run: Number(against.value) || 0 } });
  mode.onchange = compare;
  against.onchange = compare;
  const legend = new ColourBar("colour-bar");
  const nameOf = (which) => (r, c) => {
    const m = which();
    if (!m) return "";
    return [
      place(m, r, c),
      ...tokensAt(m, c).map(([k, t]) => `${k} ${t}`),
      `value ${number(m.get("value", r, c))}`,
      `effect ${number(m.get("effect", r, c))}`,
      `normalized ${number(m.get("normalized", r, c))}`,
    ].join(", ");
  };
  const select = (which) => (at) => {
    const m = which();
    if (m) set({ cell: { run: m.run, layer: m.rows[at.row], column: m.columns[at.column] } });
  };
  const pinKey = (which) => (key, at) => {
    const m = which();
    if (key.toLowerCase() !== "p" || !m) return false;
    send("pin", { run: m.run, layer: m.rows[at.row], column: m.columns[at.column] });
    return true;
  };
  const link = (target) => (at) => {
    if (target.grid) {
      target.linked = at;
      target.drawOverlay();
    }
  };
  const main = new HeatMap({
    label: "Patching effect by layer and position. Arrow keys move, Enter explains a cell, P pins it.",
    testid: "map",
    name: nameOf(() => map),
    select: select(() => map),
    key: pinKey(() => map),
    hover: (at) => link(second)(at),
  });
  const second = new HeatMap({
    label: "The other run's patching effect",
    testid: "other-map",
    name: nameOf(() => other),
    select: select(() => other),
    key: pinKey(() => other),
    hover: (at) => link(main)(at),
  });
  const empty = h(
    "div",
    { class: "mn-empty", "data-testid": "empty" },
    h("strong", { text: "No sweep yet" }),
    h("p", {
      text:
        "Run copies one activation at a time from one run into the other and measures how far the answer " +
        "moves. Layers fill in from the last to the first; each cell can be hovered and clicked as soon as " +
        "it is there.",
    }),
  );
  const firstCaption = h("div", { class: "mn-caption", hidden: true }),
    secondCaption = h("div", { class: "mn-caption" }),
    secondBox = h("div", { class: "mn-second", hidden: true }, secondCaption, second.element);
  const toolbar = h(
    "div",
    { class: "mn-toolbar" },
    show,
    scale,
    h("label", { class: "mn-check" }, cone, "causal cone"),
    mode,
    against,
    h("button", { type: "button", "data-testid": "measure-depth", text: "Depth", onclick: () => send("depth") }),
    legend.element,
  );
  const depthBox = h("section", { "data-testid": "depth", "aria-label": "Depth of reading", "aria-live": "polite" });
  const maps = h("div", { class: "mn-maps" }, h("div", { class: "mn-first" }, firstCaption, main.element), secondBox);
  const mapBox = h(
    "section",
    { class: "mn-mapbox", "aria-label": "Heat map" },
    caption,
    toolbar,
    empty,
    maps,
    depthBox,
  );
  const side = h("section", {
    class: "mn-side",
    "data-testid": "side",
    "aria-label": "Selected cell",
    "aria-live": "polite",
  });

  const limitOf = (arrays) => (scale.value === "one" ? 1 : Math.max(...arrays.map(largest)) || 1);
  const signed = (m, key) => (key === "value" ? m.effect : m[key]);
  let figure = null;

  const draw = () => {
    if (!root.isConnected) return;
    const compareState = model.get("compare"),
      has = !!map;
    empty.hidden = has;
    main.element.hidden = !has;
    toolbar.hidden = !has;
    drawer.element.hidden = !has;
    if (!has) {
      setText(caption, "");
      second.element.hidden = true;
      secondBox.hidden = true;
      return;
    }
    const key = model.get("show"),
      q = QUANTITIES[key],
      comparable = other && compareState.mode !== "off";
    const alike = comparable && other.shape.join() === map.shape.join() && other.column_name === map.column_name;
    const difference = alike && compareState.mode === "difference",
      beside = comparable && (compareState.mode === "side" || !alike);
    const arrays = [signed(map, key)];
    if (comparable) arrays.push(signed(other, key));
    let read = (i) => arrays[0][i],
      limit = limitOf(arrays);
    if (difference) {
      read = (i) => arrays[0][i] - arrays[1][i];
      limit = scale.value === "one" ? 1 : largest(arrays[0].map((v, i) => v - arrays[1][i])) || 1;
    }
    const room = mapBox.clientWidth || 600,
      width = beside && room > 760 ? (room - 24) / 2 : room;
    maps.classList.toggle("mn-two", beside && room > 760);
    secondBox.hidden = second.element.hidden = firstCaption.hidden = !beside;
    const grid = gridOf(map, read, limit);
    if (difference) {
      const tip = grid.tip;
      grid.tip = (r, c) => [...tip(r, c), [`${q.label} minus ${other.name}`, number(read(map.index(r, c)))]];
    }
    const chosen = model.get("cell"),
      at =
        chosen.run === undefined
          ? null
          : { row: map.rows.indexOf(chosen.layer), column: map.columns.indexOf(chosen.column) };
    main.update(grid, width);
    main.selected = at && at.row >= 0 && at.column >= 0 && (chosen.run === map.run || difference) ? at : null;
    main.cone =
      main.selected && cone.checked
        ? (r, c) => map.rows[r] > map.rows[at.row] && (byPart(map) || c >= at.column)
        : null;
    main.marks = model
      .get("pins")
      .filter((p) => p.run === map.run)
      .map((p) => ({ row: map.rows.indexOf(p.layer), column: map.columns.indexOf(p.column) }))
      .filter((m) => m.row >= 0 && m.column >= 0);
    main.drawOverlay();
    main.announce();
    if (beside) {
      second.update(
        gridOf(other, (i) => arrays[1][i], limit),
        width,
      );
      setText(firstCaption, map.name);
      setText(secondCaption, describe(other) + (alike ? "" : " · another shape, so there is no difference to show"));
    }
    const head = difference ? `${map.name} minus ${other.name} · ${describe(map)}` : describe(map);
    setText(caption, `${head} · clean ${number(map.clean)}, corrupted ${number(map.corrupted)}`);
    const shift = key === "value" && !difference ? (map.base ?? 0) : 0,
      theme = main.theme;
    const unit = difference ? `difference of ${q.label}` : q.unit(map);
    legend.update({
      ramp: theme.diverging,
      low: number(shift - limit),
      middle: number(shift),
      high: number(shift + limit),
      title: unit,
    });
    figure = () =>
      svgFigure(grid, {
        title: `${map.model}: ${map.site}, layer × ${map.column_name}`,
        subtitle: `${map.metric}, ${map.direction}; clean ${number(map.clean)}, corrupted ${number(map.corrupted)}`,
        bar: difference ? unit : q.label,
        limit,
      });
  };
  const drawDepth = () => depthBox.replaceChildren(...depthParts(model.get("depth"), map?.run));
  const readMaps = () => {
    map = readMap(model.get("map"));
    other = readMap(model.get("other"));
    draw();
  };

  // --- the selected cell
  const features = { order: "strongest" };
  // a node of its own: what comes later leaves the predictions, and the focus in them, as they are
  const readoutBox = h("div", { "aria-live": "polite" });
  const drawReadout = () =>
    readoutBox.replaceChildren(...readoutParts(model.get("readout"), model.get("detail"), features));
  const drawSide = () => {
    const detail = model.get("detail");
    if (detail.layer === undefined) {
      side.replaceChildren(
        h("h3", { text: "Selected cell" }),
        h("p", {
          class: "mn-note",
          text:
            "Click a cell, or move with the arrow keys and press Enter, to see what the model predicts " +
            "under that edit beside both unedited runs. P pins a cell.",
        }),
      );
      side.removeAttribute("data-cell");
      return;
    }
    side.setAttribute("data-cell", `${detail.layer},${detail.column}`);
    side.setAttribute("data-status", detail.status);
    const pin = () => send("pin", { run: detail.run, layer: detail.layer, column: detail.column });
    side.replaceChildren(...cellParts(detail, pin), readoutBox);
    drawReadout();
  };

  // --- pins, runs, export
  const heading = (title, count) => h("summary", {}, `${title} `, h("span", { class: "mn-note", text: `(${count})` }));
  const pinBox = h("details", { "data-testid": "pins", class: "mn-more", open: true }),
    runBox = h("details", { "data-testid": "runs", class: "mn-more", open: true });
  const drawPins = () => {
    const pins = model.get("pins");
    pinBox.hidden = !pins.length;
    pinBox.replaceChildren(
      heading("Pinned cells", pins.length),
      pinTable(pins, {
        show: (p) => set({ cell: { run: p.run, layer: p.layer, column: p.column } }),
        remove: (p) => send("unpin", { id: p.id }),
      }),
    );
    draw();
  };
  const drawRuns = () => {
    const runs = model.get("history"),
      shown = map?.run;
    runBox.hidden = !runs.length;
    runBox.replaceChildren(
      heading("Runs", runs.length),
      runTable(runs, shown, radio, {
        show: (run) => send("show", { run }),
        rename: (run, name) => send("rename", { run, name }),
        forget: (run) => send("forget", { run }),
      }),
    );
    const others = runs.filter((r) => r.run !== shown),
      keep = model.get("compare");
    against.replaceChildren(...others.map((r) => option(String(r.run), r.name)));
    mode.hidden = !others.length;
    against.hidden = !others.length;
    mode.value = keep.mode ?? "off";
    if (others.some((r) => r.run === keep.run)) against.value = String(keep.run);
  };
  const radio = uniqueId("runs"),
    stem = () => `${map.site}_${map.column_name}_${map.metric}_run${map.run}`;
  const drawer = exportDrawer(model, send, {
    stem,
    figure: () => figure(),
    table: () => csvOf(map),
    example: "trace.zarr, trace.nc, trace.csv, trace.parquet",
  });

  // --- what the kernel says
  const drawStatus = () => {
    const w = model.get("warning");
    warning.hidden = !w;
    setText(warning, w);
  };
  const drawAlignment = () => {
    const a = model.get("alignment");
    setText(alignment, a.text ?? "");
    alignment.classList.toggle("mn-bad", a.ok === false);
  };
  const drawSites = () => {
    const some = SITES_OVER[model.get("over")];
    for (const o of inputs.site.options) o.disabled = some !== undefined && !some.includes(o.value);
    if (some && !some.includes(model.get("site"))) set({ site: some[0] });
  };

  listen(["map", "other"], () => {
    readMaps();
    drawRuns();
    drawDepth();
  });
  listen(["depth"], drawDepth);
  listen(["show", "cell", "compare"], () => {
    show.value = model.get("show");
    draw();
    drawRuns();
  });
  listen(["detail"], drawSide);
  listen(["readout"], drawReadout);
  listen(["pins"], drawPins);
  listen(["history"], drawRuns);
  listen(["status", "progress", "error", "warning"], drawStatus);
  listen(["alignment"], drawAlignment);
  listen(["over"], drawSites);
  const close = frame.open(el, {
    parts: [form, controls, error, warning, h("div", { class: "mn-body" }, mapBox, side), pinBox, runBox],
    drawer,
    box: mapBox,
    draw,
  });
  readMaps();
  drawSide();
  drawPins();
  drawRuns();
  drawStatus();
  drawAlignment();
  drawSites();
  drawDepth();
  return close;
}

export default { render };
