// SubspaceBench: the whole curve is here, so that a move of the slider is answered without the kernel.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { dataTable, drawn, PAGE_COLOURS, PAPER_COLOURS, svg } from "../base/charts.js";
import { themeOf } from "../base/colour.js";
import { download, field, h, option, setText } from "../base/dom.js";
import { exportDrawer } from "../base/export.js";
import { sideBySide } from "../base/figure.js";
import { LEGEND, noneRecited, textBlock } from "../base/passages.js";
import { shell } from "../base/shell.js";
import { absent, between, csvLine, many, plainly, share, short, shorten } from "../base/text.js";
import { octets, tiedControls } from "../base/traits.js";
import { KINDS, layerMap, lossChart, mark, NAMES, planeChart, readFound, reciteChart, rowsOf } from "./charts.js";

function render({ model, el }) {
  const frame = shell(model, {
    title: "Subspace bench",
    testid: "subspace-bench",
    name: "Subspace bench",
    kind: "mn-memory",
    label: "Compute curve",
    help: "Compute the curve; points that are there are not computed again",
    stop: "Stop after the point in progress; finished points stay, and the weights are restored",
    unit: "Points computed",
    start: () => {
      flush();
      send("run", { fields: fieldsNow() });
    },
  });
  const { send, listen, root, row: runRow, error } = frame;
  const info = model.get("model_info"),
    names = model.get("names");
  const push = (values) => {
    for (const [k, v] of Object.entries(values)) model.set(k, v);
    send("move", { fields: values });
    stale();
  };
  const { bound, shown, flush, choose, line } = tiedControls(model, listen, push);
  const fieldsNow = () => {
    const all = shown();
    all.at = model.get("at");
    return all;
  };

  // --- the question
  const sets = (what) =>
    choose(
      what,
      names[what].map(([name, text]) => [name, shorten(plainly(text), 60)]),
    );
  const sparsities = line("sparsities", "0.005, 0.01, 0.02"),
    kept = line("kept", "0.9, 0.8, 0.7"),
    sparsityField = field("Points: share of weights set to 0", sparsities),
    keptField = field("Points: curvature mass kept", kept);
  sparsityField.classList.add("mn-grow");
  keptField.classList.add("mn-grow");
  const refused = h("div", { class: "mn-error", role: "alert", "data-testid": "refused", hidden: true });
  const form = h(
    "div",
    {},
    h(
      "div",
      { class: "mn-controls" },
      field("Memorised text", sets("memorised")),
      field("Reference text", sets("reference")),
      field("Method", choose("method", model.get("methods"))),
      field("Seed", bound("seed", h("input", { type: "number", min: 0, step: 1 }))),
    ),
    h("div", { class: "mn-controls" }, sparsityField, keptField, runRow),
    refused,
    error,
  );
  const kindNow = () => (model.get("method") === "curvature" ? "kept" : "sparsity");
  const drawForm = () => {
    sparsityField.hidden = kindNow() !== "sparsity";
    keptField.hidden = kindNow() !== "kept";
    const d = model.get("doubts"),
      now = ["memorised", "reference", "seed"].every((k) => d[k] === model.get(k));
    refused.hidden = !now || !d.refused;
    refused.replaceChildren(
      ...(refused.hidden
        ? []
        : [h("strong", { text: "These sets overlap: nothing is run with them" }), h("pre", { text: d.refused })]),
    );
    if (!refused.hidden && model.get("error").text === d.refused) error.hidden = true;
  };

  // --- the curve
  let found = null,
    cursor = -1;
  const empty = h(
    "div",
    { class: "mn-empty", "data-testid": "empty" },
    h("strong", { text: "No curve yet" }),
    h("p", {
      text:
        "“Compute curve” finds the weights that hold the memorised text, takes more and more of them out, " +
        "and measures at each point how much is still recited and what clean text loses, beside a random " +
        "edit of equal size. The weights are restored after every point.",
    }),
  );
  const what = h("span", { class: "mn-note", "data-testid": "what" }),
    old = h("div", { class: "mn-warning", "data-testid": "stale", hidden: true }),
    notes = h("div", { class: "mn-warning", "data-testid": "notes", hidden: true });
  const slider = h("input", {
      type: "range",
      min: 0,
      max: 1,
      step: 1,
      "data-testid": "at",
      "aria-label": "Point of the curve",
    }),
    here = h("output", { "data-testid": "here" }),
    sliderName = h("span", { class: "mn-label" });
  const measure = choose("measure", [
      ["strict", "word for word"],
      ["loose", "loosely, 75 % right"],
    ]),
    set = h("select", { "data-testid": "set" }),
    key = h("div", { class: "mn-key" });
  const plane = h("div", { class: "mn-chart", "data-testid": "plane" }),
    recited = h("div", { class: "mn-chart", "data-testid": "recited" }),
    loss = h("div", { class: "mn-chart", "data-testid": "loss" }),
    numbers = h("div", { "data-testid": "numbers" });
  const map = h("div", {
      class: "mn-chart",
      tabindex: "0",
      role: "group",
      "data-testid": "layers",
      "aria-label": "Layer map; arrow keys read its cells",
    }),
    cell = h("div", { class: "mn-note", "data-testid": "cell", role: "status" }),
    mapTitle = h("h3", {});
  const unchanged = h("p", { class: "mn-note", "data-testid": "unchanged" });
  const moves = h(
    "div",
    { class: "mn-moves" },
    h("div", { class: "mn-field mn-slide" }, h("span", {}, sliderName, here), slider),
    field("Recitation", measure),
    field("of the sequences", set),
  );
  const body = h(
    "div",
    {},
    notes,
    moves,
    key,
    h("div", { class: "mn-two" }, plane, h("div", {}, recited, loss)),
    numbers,
    unchanged,
  );
  const curve = h(
    "section",
    { class: "mn-section", "data-testid": "curve", "aria-label": "Trade-off curve" },
    h("div", { class: "mn-side-head" }, h("h3", { text: "How much is recited, and what that costs" }), what),
    old,
    empty,
    body,
  );
  const place = () => (found ? Math.max(0, Math.min(model.get("at"), found.strengths.length)) : 0);
  const move = (to) => {
    const at = Math.max(0, Math.min(to, found.strengths.length));
    model.set("at", at);
    send("move", { fields: { at } });
    drawPoint();
  };
  slider.oninput = () => {
    if (found) move(Number(slider.value));
  };
  for (const box of [plane, recited, loss])
    box.addEventListener("click", (e) => {
      const at = e.target.closest("[data-point]");
      if (at && found) move(Number(at.dataset.point));
    });
  set.onchange = () => drawPoint();
  const changed = () =>
    found
      ? Object.entries(found.fields)
          .filter(([k, v]) => String(model.get(k)) !== String(v))
          .map(([k]) => k)
      : [];
  const stale = () => {
    const now = changed(),
      busy = ["running", "stopping"].includes(model.get("status"));
    old.hidden = !now.length || busy;
    setText(
      old,
      old.hidden
        ? ""
        : `The fields have changed (${now.join(", ")}). What stands here is of ${found.what}; press ` +
            `“Compute curve” for the new question.`,
    );
  };

  // --- one point
  const texts = h("div", { "data-testid": "texts" }),
    textsTitle = h("span", { class: "mn-note" });
  const forceText = h("p", { "data-testid": "force", role: "status" }),
    putButton = h("button", {
      type: "button",
      class: "mn-button",
      "data-testid": "put",
      onclick: () => send("put", { fields: { at: place() } }),
    }),
    undoButton = h("button", {
      type: "button",
      class: "mn-button",
      "data-testid": "undo",
      onclick: () => send("undo"),
    });
  const weights = h("div", { class: "mn-weights", "data-testid": "weights" }, putButton, undoButton, forceText),
    pointBox = h(
      "div",
      {},
      h(
        "section",
        { class: "mn-section", "aria-label": "Weights" },
        h("div", { class: "mn-side-head" }, h("h3", { text: "Weights" })),
        weights,
      ),
      h(
        "section",
        { class: "mn-section", "aria-label": "Layer map" },
        h("div", { class: "mn-side-head" }, mapTitle),
        map,
        cell,
      ),
      h(
        "section",
        { class: "mn-section", "aria-label": "Texts before and after" },
        h("div", { class: "mn-side-head" }, h("h3", { text: "Texts before and after" }), textsTitle),
        LEGEND(),
        texts,
      ),
    );
  const hash = (v) => (v ? v.slice(0, 12) : "…");
  const drawForce = () => {
    const f = model.get("force"),
      at = place(),
      busy = ["running", "stopping"].includes(model.get("status")),
      name = at ? `${KINDS[found.kind].unit} ${short(found.strengths[at - 1])}` : "";
    weights.setAttribute("data-state", f.state);
    putButton.disabled = busy || !at || !!f.doing;
    setText(putButton, at ? `Put ${name} in force` : "Put an edit in force");
    undoButton.disabled = f.state !== "in force";
    setText(
      undoButton,
      f.state === "in force"
        ? "Undo: weights back, bit-equal"
        : f.state === "undone" && f.same
          ? "Undone: weights bit-equal"
          : "Undo",
    );
    const said =
      f.state === "in force"
        ? `In force: ${f.what}. Weight hash ${hash(f.before)} → ${hash(f.now)}; whatever the notebook asks ` +
          `this model now is answered by the edited one.`
        : f.state === "undone"
          ? `Undone (${f.what}): weight hash ${hash(f.now)}, ` +
            `${f.same ? `unchanged from ${hash(f.before)} before the edit` : `NOT the ${hash(f.before)} from before`}` +
            `.`
          : f.state === "error"
            ? ""
            : "The model has its own weights. The curve undoes its edits itself; here one can be left in " +
              "force, to try the edited model in the notebook.";
    forceText.replaceChildren(
      f.doing ?? said,
      ...(f.text ? [h("strong", { class: "mn-bad", text: ` ${f.text}` })] : []),
    );
  };
  const row = (values, name, write) => [
    write(values[name]),
    between(values[`${name}_low`], values[`${name}_high`], write),
  ];
  const drawPoint = () => {
    if (!found || !root.isConnected) {
      drawForce();
      return;
    }
    const at = place(),
      f = found,
      now = set.value || f.sets[0],
      u = f.unedited[now],
      e = at ? f.edit[at - 1][now] : null,
      r = at ? f.random[at - 1][now] : null,
      unit = KINDS[f.kind],
      level = `${short(100 * info.level)} %`;
    slider.max = f.strengths.length;
    slider.value = at;
    setText(sliderName, `${unit.title[0].toUpperCase() + unit.title.slice(1)}: `);
    setText(
      here,
      at
        ? `${short(f.strengths[at - 1])} (${share(f.shares[at - 1])} of all ${unit.taken} taken)`
        : "none, the unedited model",
    );
    slider.setAttribute(
      "aria-valuetext",
      at
        ? `${unit.unit} ${short(f.strengths[at - 1])}: ${share(e[model.get("measure")])} recited, clean ` +
            `loss ${short(e.rise)} nats higher`
        : "unedited",
    );
    curve.setAttribute("data-at", at);
    numbers.replaceChildren(
      dataTable(
        "point",
        ["", `unedited, n = ${u.n}`, at ? `${unit.unit} ${short(f.strengths[at - 1])}` : "–", at ? f.control : "–"],
        [
          ...["strict", "loose", "lev", "exact_prefix", "nll"].map((k) => {
            const write = k === "strict" || k === "loose" || k === "lev" ? share : short;
            return [NAMES[k], row(u, k, write), e ? row(e, k, write) : "–", r ? row(r, k, write) : "–"];
          }),
          [
            `clean loss, nats/token (${many(u.texts, "text")})`,
            [short(u.loss), ""],
            e ? [short(e.loss), ""] : "–",
            r ? [short(r.loss), ""] : "–",
          ],
          ["its rise over unedited", "–", e ? row(e, "rise", short) : "–", r ? row(r, "rise", short) : "–"],
          [
            "nDCG@10 to unedited, clean text",
            [short(u.ndcg), ""],
            e ? [short(e.ndcg), ""] : "–",
            r ? [short(r.ndcg), ""] : "–",
          ],
        ],
      ),
      h("p", {
        class: "mn-note",
        text:
          `${level} intervals: exact (Clopper–Pearson) for shares recited, bootstrap over sequences or ` +
          `texts for the others. ` +
          (f.sets.length > 1
            ? "“kept apart”: the half of the sequences that the edit was not found on."
            : "Too few sequences to halve: recitation is of those that the edit was found on.") +
          ` Control: one draw.`,
      }),
    );
    const under = at
      ? [
          ["before", 0],
          [`after, ${short(f.strengths[at - 1])}`, at],
        ]
      : [["before", 0]];
    texts.replaceChildren(
      ...f.texts.items.map((item, i) =>
        textBlock(f.texts, i, under, item.what === "clean" ? "clean text, half of it given" : item.what),
      ),
    );
    setText(
      textsTitle,
      `memorised sequences ${f.texts.items[0] ? `(${f.texts.items[0].what}, best recited first)` : ""} and clean text`,
    );
    setText(
      mapTitle,
      at
        ? `What the edit takes from each layer, ${unit.unit} ${short(f.strengths[at - 1])}`
        : "What the edit takes from each layer: nothing yet",
    );
    drawForce();
    drawCharts();
  };
  const charts = (c, widths) => {
    const at = place(),
      now = set.value || found.sets[0],
      m = model.get("measure");
    return [
      planeChart(c, found, now, m, at, widths[0], 330),
      reciteChart(c, found, now, m, at, widths[1], 168),
      lossChart(c, found, now, at, widths[1], 168),
    ];
  };
  const drawMap = () => {
    const at = place(),
      f = found;
    map.hidden = cell.hidden = !at || !f.grid.matrices.length;
    if (map.hidden) return;
    map.replaceChildren(
      layerMap(
        PAGE_COLOURS,
        f,
        at,
        themeOf(root),
        (root.clientWidth || 900) - 30,
        document.activeElement === map ? cursor : -1,
      ),
    );
    const layers = f.grid.names.flat().filter(Boolean);
    if (layers.length === 1) {
      map.hidden = true;
      const taken = f.cellsAt(at).find((v) => !absent(v));
      setText(cell, `The edit is in one layer, ${layers[0]}: it takes ${share(taken)} of its ${KINDS[f.kind].taken}.`);
      return;
    }
    const size = f.grid.blocks.length,
      name = cursor >= 0 ? f.grid.names[Math.floor(cursor / size)]?.[cursor % size] : "";
    const taken_ = KINDS[f.kind].taken;
    setText(
      cell,
      `A column a block; % of the layer’s ${taken_}, strongest shade ` +
        `${share(Math.max(...f.cellsAt(at).filter((v) => !absent(v))))}.` +
        `${name ? ` ${name}: ${share(f.cellsAt(at)[cursor])}.` : ""}`,
    );
  };
  const drawCharts = () => {
    if (!found || !root.isConnected) return;
    const room = body.clientWidth || 900,
      side = Math.max(260, Math.round(room > 780 ? (room - 24) / 2 : room)),
      [p, r, l] = charts(PAGE_COLOURS, [side, side]);
    plane.replaceChildren(p);
    recited.replaceChildren(r);
    loss.replaceChildren(l);
    drawMap();
  };
  map.onkeydown = (e) => {
    const size = found?.grid.blocks.length,
      step = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -size, ArrowDown: size }[e.key];
    if (!step || !found) return;
    e.preventDefault();
    e.stopPropagation();
    const next = cursor < 0 ? 0 : cursor + step;
    if (next >= 0 && next < size * found.grid.matrices.length) cursor = next;
    drawMap();
  };
  map.onfocus = () => {
    if (cursor < 0) cursor = 0;
    if (found) drawMap();
  };
  map.onblur = () => {
    if (found) drawMap();
  };
  map.addEventListener("click", (e) => {
    const at = e.target.closest("[data-cell]");
    if (at) {
      cursor = Number(at.dataset.cell);
      drawMap();
    }
  });
  const drawCurve = () => {
    found = readFound(model.get("found"));
    for (const box of [body, pointBox, drawer.files]) box.hidden = !found;
    empty.hidden = !!found;
    setText(what, found?.what ?? "");
    stale();
    drawForm();
    if (!found) {
      drawForce();
      return;
    }
    const f = found,
      before = set.value;
    set.replaceChildren(...f.sets.map((s) => option(s, `${s} (${f.unedited[s].n})`)));
    set.value = f.sets.includes(before) ? before : f.sets[0];
    curve.setAttribute("data-points", f.strengths.length);
    const none = noneRecited(f.unedited[f.sets[0]], f.sets[0]),
      said = [
        ...(none ? [none] : []),
        ...f.notes,
        ...f.failed.map(([s, text]) => `Left out: ${s}. ${text[0].toUpperCase()}${text.slice(1)}`),
      ];
    notes.hidden = !said.length;
    notes.replaceChildren(h("ul", {}, ...said.map((t) => h("li", { text: t }))));
    key.replaceChildren(
      ...[
        ["edit", f.method],
        ["control", `${f.control} (control)`],
      ].map(([line, text]) =>
        h(
          "span",
          {},
          svg(
            "svg",
            { width: 26, height: 12, "aria-hidden": "true" },
            svg("line", {
              x1: 0,
              x2: 26,
              y1: 6,
              y2: 6,
              style: `stroke:var(${line === "edit" ? "--mn-accent" : "--mn-other"})`,
              "stroke-width": 1.6,
              "stroke-dasharray": line === "edit" ? null : "5 4",
            }),
            mark(PAGE_COLOURS, line, 13, 6),
          ),
          text,
        ),
      ),
      h("span", { text: "◯ the point chosen" }),
    );
    const [a, b] = f.hashes;
    setText(
      unchanged,
      !a
        ? ""
        : a === b
          ? `Weight hash before and after all points: ${hash(a)}, unchanged.`
          : `Weight hash ${hash(a)} before, ${hash(b)} after: the model was changed meanwhile.`,
    );
    drawPoint();
  };

  // --- export, and what changes with what
  const stem = () => `subspace_${found.fields.method}_${found.fields.memorised}`.replace(/[^\w-]+/g, "_");
  const csv = () => {
    const rows = rowsOf(found);
    return [Object.keys(rows[0]), ...rows.map((r) => Object.values(r))].map(csvLine).join("");
  };
  const figure = () => sideBySide(charts(PAPER_COLOURS, [470, 430]).map(drawn));
  const drawer = exportDrawer(model, (type, content) => send(type, { ...content, fields: fieldsNow() }), {
    stem,
    figure,
    table: csv,
    example: "curve.zarr, curve.nc, curve.csv, mask.npz",
  });
  setText(drawer.files.querySelector("[data-testid=csv]"), "Curve (CSV)");
  setText(
    drawer.files.querySelector(".mn-saverow .mn-label"),
    "Save on the kernel’s machine: the curve (.zarr, .nc, .csv, .parquet) or the mask shown (.npz)",
  );
  drawer.files.querySelector(".mn-buttons").append(
    h("button", {
      type: "button",
      class: "mn-button",
      "data-testid": "json",
      text: "Curve (JSON)",
      onclick: () =>
        download(
          `${stem()}.json`,
          "application/json",
          JSON.stringify(
            {
              ...found.fields,
              kind: found.kind,
              control: found.control,
              level: info.level,
              layers: found.grid.names.flat().filter(Boolean),
              model: info.name,
              weights: found.hashes[0],
              points: rowsOf(found),
            },
            (_, v) => (typeof v === "number" && !Number.isFinite(v) ? null : v),
            1,
          ),
        ),
    }),
    h("button", {
      type: "button",
      class: "mn-button",
      "data-testid": "npz",
      text: "Mask shown (npz)",
      onclick: () => send("document", { kind: "npz", fields: fieldsNow() }),
    }),
  );
  let taken = model.get("document").number ?? 0;
  const take = () => {
    const d = model.get("document");
    if (!d.number || d.number === taken) return;
    taken = d.number;
    download(`${stem()}.${d.kind}`, d.type, octets(d.data));
  };
  listen(["found"], drawCurve);
  listen(["at", "measure"], drawPoint);
  listen(["doubts"], drawForm);
  listen(["force"], drawForce);
  listen(["memorised", "reference", "method", "seed"], () => {
    drawForm();
    stale();
  });
  listen(["status", "progress", "error"], () => {
    stale();
    drawForm();
    drawForce();
  });
  listen(["document"], take);
  const close = frame.open(el, {
    parts: [form, curve, pointBox],
    drawer,
    box: curve,
    draw: drawCharts,
  });
  drawCurve();
  drawForm();
  return close;
}

export default { render };
