// VectorBench: the task, and what changes with what.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { field, h, option } from "../base/dom.js";
import { exportDrawer } from "../base/export.js";
import { shell } from "../base/shell.js";
import { placeControls } from "../base/strength.js";
import { tiedControls } from "../base/traits.js";
import { answerPanel } from "./answers.js";
import { headPanel } from "./heads.js";
import { reportPanel } from "./report.js";
import { csvOf, OWN, pairTable } from "./table.js";

const SLIDER = { low: -4, high: 8, step: 0.25 };

function render({ model, el }) {
  const info = model.get("model_info"),
    other = model.get("after_info"),
    names = model.get("names");
  const frame = shell(model, {
    title: "Vector bench",
    testid: "vector-bench",
    name: "Vector bench",
    kind: "mn-vectors",
    label: "Find heads",
    help: "Measure every head’s effect",
    stop: "Stop after the layer in progress; finished layers stay",
    unit: "Layers computed",
    data: other.name ? `${info.text} | ${other.text}` : info.text,
    start: () => {
      pairs.flush();
      flush();
      send("run", { fields: shown() });
    },
  });
  const { send, listen, root, row, error } = frame;
  // Moves travel as messages: a front end sends those even while it holds back changed traits. A moved k means the
  // strongest heads again.
  const push = (values) => {
    const all = "k" in values ? { ...values, by_hand: false } : values;
    for (const [k, v] of Object.entries(all)) model.set(k, v);
    send("move", { fields: { ...shown(), ...all } });
    fresh();
  };
  const { bound, shown, flush, choose } = tiedControls(model, listen, push);
  const amount = (name, more) => bound(name, h("input", { type: "number", step: 1, ...more }));

  // --- the task
  const pick = h(
    "select",
    { "data-testid": "task", onchange: () => send("task", { name: pick.value }) },
    ...model.get("tasks").map((t) => option(t, t.replace(/_/g, " "))),
    option(OWN, "own pairs (type or paste below)"),
  );
  const pairs = pairTable((rows) => {
    model.set("pairs", rows);
    send("move", { fields: { pairs: rows } });
    fresh();
  });
  const tableNotes = h("div", { class: "mn-tablenotes", "data-testid": "table-notes", role: "status" });
  const drawTable = () => {
    const t = model.get("table");
    pick.value = model.get("task");
    pairs.mark(new Map((t.wrong ?? []).map((w) => [w.row, w.text])));
    tableNotes.replaceChildren(
      ...(t.wrong ?? []).slice(0, 3).map((w) => h("div", { class: "mn-bad", text: w.text })),
      ...((t.wrong ?? []).length > 3
        ? [h("div", { class: "mn-bad", text: `… and ${t.wrong.length - 3} more rows` })]
        : []),
      ...(t.error
        ? [h("div", { class: t.pairs ? "mn-bad" : "mn-note", "data-testid": "table-error", text: t.error })]
        : []),
      ...(t.splits ? [h("div", { class: "mn-note", text: t.splits })] : []),
      ...(t.notes ?? []).map((n) => h("div", { class: "mn-warning", text: n })),
    );
  };
  const form = h(
    "div",
    { class: "mn-form" },
    h("div", {}, field("Task", pick), pairs.element, tableNotes),
    h(
      "div",
      {},
      h(
        "div",
        { class: "mn-controls" },
        field(
          "Template",
          choose(
            "template",
            model.get("templates").map((t) => [t, t]),
          ),
        ),
        field("Demonstrations", amount("shots", { min: 1 })),
        field("Prompts for means", amount("mean_prompts", { min: 1 })),
        field("Prompts for effects", amount("trials", { min: 1 })),
        field("Seed", amount("seed", { min: 0 })),
      ),
      h("p", {
        class: "mn-note",
        text:
          "Every head’s output at the last token of prompts with shuffled labels is replaced by its mean " +
          "over prompts with right ones; its effect is the change of the answer’s probability.",
      }),
      h("div", { class: "mn-controls", style: "margin-top:8px" }, row),
      error,
    ),
  );

  // --- the heads, the vector on bare prompts, the test split
  const heads = headPanel({ model, root, info, names, bound, push, shown });
  const place = placeControls(bound, {
    layers: info.layers,
    ends: SLIDER,
    name: "Added after layer ",
    strengthName: "Strength (× the vector)",
    drawn: heads.follow,
  });
  const controls = h(
    "div",
    { class: "mn-controls" },
    heads.count,
    ...place.elements,
    field("Prompts", amount("queries", { min: 1, max: 64 })),
    heads.topAgain,
  );
  const answers = answerPanel({ model, names, shown, controls });
  const report = reportPanel({
    model,
    names,
    ask: () => {
      pairs.flush();
      flush();
      send("test", { fields: shown() });
    },
  });
  const fresh = () => answers.fresh();

  // --- export, and what changes with what
  const drawer = exportDrawer(model, (type, content) => send(type, { ...content, fields: shown() }), {
    stem: () => `heads_${heads.map().task.replace(/[^\w-]+/g, "_")}`,
    figure: heads.figure,
    table: () => csvOf(heads.map()),
    example: "heads.zarr, heads.nc, heads.csv, heads.parquet",
  });
  drawer.files.querySelector(".mn-saverow").prepend(
    h(
      "div",
      {},
      field(
        "Save",
        choose("holds", [
          ["heads", "effects of the heads"],
          ["test", "answers on the test split"],
        ]),
      ),
    ),
  );
  const draw = () => {
    heads.draw();
    drawer.files.hidden = !heads.map();
  };
  const read = () => {
    heads.read();
    drawer.files.hidden = !heads.map();
  };
  listen(["pairs"], () => pairs.update(model.get("pairs")));
  listen(["table", "task"], () => {
    drawTable();
    draw();
  });
  listen(["live"], () => {
    answers.draw();
    heads.drawHeads();
  });
  listen(["samples"], answers.draw);
  listen(["map"], read);
  listen(["report"], report.draw);
  listen(["by_hand", "heads"], () => {
    heads.drawHeads();
    fresh();
  });
  listen(["k", "layer", "strength", "template", "shots", "seed", "trials"], () => {
    place.follow();
    draw();
    fresh();
  });
  root.addEventListener("input", () => {
    place.follow();
    fresh();
  });
  const close = frame.open(el, {
    parts: [form, heads.element, answers.element, report.element],
    drawer,
    box: heads.element,
    draw,
  });
  pairs.update(model.get("pairs"));
  pairs.draw();
  place.follow();
  drawTable();
  answers.draw();
  read();
  report.draw();
  return close;
}

export default { render };
