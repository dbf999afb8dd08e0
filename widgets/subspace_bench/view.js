// SubspaceBench: the whole curve is here, so that a move of the slider is answered without the kernel.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { drawn, PAGE_COLOURS, PAPER_COLOURS, svg } from "../base/charts.js";
import { emptyBox, field, h, option, section, setText } from "../base/dom.js";
import { sideBySide } from "../base/figure.js";
import { forcePanel } from "../base/force.js";
import { LEGEND, noneRecited } from "../base/passages.js";
import { refusedBox } from "../base/refused.js";
import { shell } from "../base/shell.js";
import { hash, plainly, share, short, shorten } from "../base/text.js";
import { tiedControls } from "../base/traits.js";
import { KINDS, lossChart, mark, planeChart, readFound, reciteChart } from "./charts.js";
import { curveFiles } from "./files.js";
import { layerPanel } from "./layers.js";
import { pointParts, textParts } from "./point.js";

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
  const refused = refusedBox(model, error, {
    title: "These sets overlap: nothing is run with them",
    names: ["memorised", "reference", "seed"],
  });
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
    refused.element,
    error,
  );
  const kindNow = () => (model.get("method") === "curvature" ? "kept" : "sparsity");
  const drawForm = () => {
    sparsityField.hidden = kindNow() !== "sparsity";
    keptField.hidden = kindNow() !== "kept";
    refused.draw();
  };

  // --- the curve
  let found = null;
  const empty = emptyBox(
    "No curve yet",
    "“Compute curve” finds the weights that hold the memorised text, takes more and more of them out, " +
      "and measures at each point how much is still recited and what clean text loses, beside a random " +
      "edit of equal size. The weights are restored after every point.",
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
  const curve = section(
    {
      label: "Trade-off curve",
      title: "How much is recited, and what that costs",
      beside: [what],
      "data-testid": "curve",
    },
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
  const busy = () => ["running", "stopping"].includes(model.get("status"));
  const changed = () =>
    found
      ? Object.entries(found.fields)
          .filter(([k, v]) => String(model.get(k)) !== String(v))
          .map(([k]) => k)
      : [];
  const stale = () => {
    const now = changed();
    old.hidden = !now.length || busy();
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
  const force = forcePanel(model, send, {
    fields: () => ({ at: place() }),
    words: {
      edited: (edit, hashes) =>
        `In force: ${edit}. ${hashes}; whatever the notebook asks this model now is answered by the edited one.`,
      undone: (edit, hashes) => `Undone (${edit}): ${hashes}`,
      none: () =>
        "The model has its own weights. The curve undoes its edits itself; here one can be left in " +
        "force, to try the edited model in the notebook.",
    },
  });
  const layers = layerPanel(root);
  const pointBox = h(
    "div",
    {},
    section({ label: "Weights", title: "Weights" }, force.element),
    layers.element,
    section(
      { label: "Texts before and after", title: "Texts before and after", beside: [textsTitle] },
      LEGEND(),
      texts,
    ),
  );
  const drawForce = () => {
    const at = place(),
      name = at ? `Put ${KINDS[found.kind].unit} ${short(found.strengths[at - 1])} in force` : "Put an edit in force";
    force.draw({ ready: !busy() && !!at, name });
  };
  const drawPoint = () => {
    if (!found || !root.isConnected) {
      drawForce();
      return;
    }
    const at = place(),
      f = found,
      now = set.value || f.sets[0],
      e = at ? f.edit[at - 1][now] : null,
      unit = KINDS[f.kind];
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
    numbers.replaceChildren(...pointParts(f, at, now, info.level));
    texts.replaceChildren(...textParts(f, at));
    setText(
      textsTitle,
      `memorised sequences ${f.texts.items[0] ? `(${f.texts.items[0].what}, best recited first)` : ""} and clean text`,
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
  const drawCharts = () => {
    if (!found || !root.isConnected) return;
    const room = body.clientWidth || 900,
      side = Math.max(260, Math.round(room > 780 ? (room - 24) / 2 : room)),
      [p, r, l] = charts(PAGE_COLOURS, [side, side]);
    plane.replaceChildren(p);
    recited.replaceChildren(r);
    loss.replaceChildren(l);
    layers.show(found, place());
  };
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
  const drawer = curveFiles(model, frame, {
    found: () => found,
    figure: () => sideBySide(charts(PAPER_COLOURS, [470, 430]).map(drawn)),
    fields: fieldsNow,
  });
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
