// ProvenanceBench: the question, the numbers as rows come, every question asked.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { drawn } from "../base/charts.js";
import { emptyBox, field, h, option, setText } from "../base/dom.js";
import { button, documents, exportDrawer } from "../base/export.js";
import { sideBySide } from "../base/figure.js";
import { refusedBox } from "../base/refused.js";
import { shell } from "../base/shell.js";
import { many, plainly, shorten } from "../base/text.js";
import { tiedControls } from "../base/traits.js";
import {
  COLOURS_PAGE,
  COLOURS_PAPER,
  eChart,
  grouped,
  nullChart,
  quantileChart,
  quantilesCsv,
  readFound,
} from "./charts.js";
import { linesParts, quantileTable, worthTable } from "./tables.js";

const ALPHAS = [0.05, 0.01, 0.001, 1e-4, 1e-6];

function render({ model, el }) {
  const frame = shell(model, {
    title: "Provenance bench",
    testid: "provenance-bench",
    name: "Provenance bench",
    kind: "mn-prov",
    help: "Ask row by row",
    stop: "Stop after the rows in progress; the e-value stays valid",
    unit: "Rows asked",
    start: () => {
      flush();
      send("run", { fields: shown() });
    },
  });
  const { send, listen, root, row, error } = frame;
  const push = (values) => {
    for (const [k, v] of Object.entries(values)) model.set(k, v);
    send("move", { fields: values });
    stale();
  };
  const { bound, shown, flush, choose } = tiedControls(model, listen, push);
  const amount = (name, more) => bound(name, h("input", { type: "number", step: 1, ...more }));

  // --- the question
  const transcripts = model.get("transcripts"),
    rowsOf = new Map(transcripts.map(([name, n]) => [name, n])),
    alphas = [...new Set([...ALPHAS, model.get("alpha")])].sort((a, b) => b - a);
  const suspect = choose(
      "suspect",
      model.get("suspects").map((s) => [s, shorten(plainly(s), 60)]),
    ),
    transcript = choose(
      "transcript",
      transcripts.map(([name, n]) => [name, `${shorten(plainly(name), 50)} (${many(n, "row")})`]),
    );
  const reference = choose("reference", [
    ...model.get("references").map(([name, said]) => [name, `${shorten(plainly(name), 40)} (${said})`]),
    ["", "no reference (little power)"],
  ]);
  const rows = amount("rows", { min: 4 }),
    statistic = choose("statistic", model.get("statistics")),
    alpha = choose(
      "alpha",
      alphas.map((v) => [v, String(v)]),
    );
  const refused = refusedBox(model, error, {
      title: "This reference is refused: nothing is run with it",
      names: ["transcript", "reference"],
    }),
    doubts = h("div", { class: "mn-warning", role: "status", "data-testid": "doubts", hidden: true });
  const form = h(
    "div",
    {},
    h(
      "div",
      { class: "mn-controls" },
      field("Suspect", suspect),
      field("Transcript (the order asked about)", transcript),
      field("Reference", reference),
      field("Score of a row", statistic),
    ),
    h(
      "div",
      { class: "mn-controls" },
      field("Stop rule", choose("rule", model.get("rules"))),
      field("Level α", alpha),
      field("Rows, at most", rows),
      field("Seed of the rows’ sequence", amount("seed", { min: 0 })),
      row,
    ),
    refused.element,
    doubts,
    error,
  );
  const drawForm = () => {
    if (![...alpha.options].some((o) => Number(o.value) === model.get("alpha"))) {
      alpha.append(option(model.get("alpha"), String(model.get("alpha"))));
      alpha.value = model.get("alpha");
    }
    const n = rowsOf.get(model.get("transcript")) ?? 0,
      d = model.get("doubts");
    rows.max = n;
    statistic.disabled = !model.get("reference");
    setText(
      rows.closest("label").querySelector(".mn-label"),
      `${model.get("rule") === "e" ? "Rows, at most" : "Rows, fixed"} (of ${grouped(n)})`,
    );
    const now = d.transcript === model.get("transcript") && d.reference === model.get("reference");
    refused.draw();
    const here = found && !changed().length ? found.warnings : [],
      texts = now ? (d.texts ?? []).filter((t) => !here.includes(t)) : [];
    doubts.hidden = !texts.length;
    doubts.replaceChildren(
      ...(texts.length
        ? [h("strong", { text: "Before you run: " }), h("ul", {}, ...texts.map((t) => h("li", { text: t })))]
        : []),
    );
  };

  // --- the answer
  let found = null;
  const empty = emptyBox(
    "Nothing asked yet",
    "“Run” asks rows of the transcript one after another, in a random sequence that is blind to their " +
      "order, and tests whether the suspect finds later rows easier than the reference does. The e-value " +
      "may be watched and the run stopped at any time: no positions are shown while rows come.",
  );
  const what = h("span", { class: "mn-note", "data-testid": "what" }),
    old = h("div", { class: "mn-warning", "data-testid": "stale", hidden: true }),
    verdict = h("div", { class: "mn-verdict", "data-testid": "verdict", role: "status" }),
    warnings = h("div", { class: "mn-warning", "data-testid": "warnings", hidden: true });
  const numbers = h("div", { class: "mn-tablebox", "data-testid": "numbers" }),
    eBox = h("div", { class: "mn-chart", "data-testid": "e-chart" }),
    qBox = h("div", { class: "mn-chart", "data-testid": "quantiles" }),
    nullBox = h("div", { class: "mn-chart", "data-testid": "null" });
  const rests = h("div", { class: "mn-note", "data-testid": "conditions", hidden: true });
  const qTable = h(
      "details",
      { class: "mn-numbers" },
      h("summary", { text: "Rows by position as a table" }),
      h("div", { class: "mn-tablebox" }),
    ),
    meaning = h("p", { class: "mn-note" });
  const body = h(
    "div",
    {},
    verdict,
    warnings,
    h("div", { class: "mn-answer" }, h("div", {}, numbers, rests), h("div", { class: "mn-charts" }, eBox, nullBox)),
    qBox,
    qTable,
    meaning,
  );
  const answer = h(
    "section",
    { class: "mn-section", "data-testid": "answer", "aria-label": "Answer" },
    h("div", { class: "mn-side-head" }, h("h3", { text: "Does it depend on this order?" }), what),
    old,
    empty,
    body,
  );
  const changed = () =>
    found
      ? Object.entries(found.fields)
          .filter(([k, v]) => String(shown()[k]) !== String(v))
          .map(([k]) => k)
      : [];
  const stale = () => {
    const now = changed(),
      running = ["running", "stopping"].includes(model.get("status"));
    old.hidden = !now.length || running;
    setText(
      old,
      old.hidden
        ? ""
        : `The fields have changed (${now.join(", ")}). What stands here is of ${found.what}; press Run ` +
            `for the new question.`,
    );
  };
  const drawAnswer = () => {
    found = readFound(model.get("found"));
    empty.hidden = !!found;
    body.hidden = !found;
    drawer.files.hidden = !found;
    setText(what, found?.what ?? "");
    stale();
    if (!found) return;
    const f = found;
    answer.setAttribute("data-n", f.n);
    answer.setAttribute("data-status", f.status);
    verdict.setAttribute("data-kind", f.verdict.kind);
    verdict.setAttribute("aria-live", f.verdict.kind === "running" ? "off" : "polite");
    verdict.replaceChildren(h("strong", { text: f.verdict.lead }), h("span", { text: ` ${f.verdict.text}` }));
    warnings.hidden = !f.warnings.length;
    warnings.replaceChildren(
      ...(f.warnings.length
        ? [h("strong", { text: "Warnings" }), h("ul", {}, ...f.warnings.map((t) => h("li", { text: t })))]
        : []),
    );
    numbers.replaceChildren(worthTable(f));
    rests.hidden = !f.conditions.length;
    rests.replaceChildren(
      ...(f.conditions.length
        ? [h("strong", { text: "Guaranteed if" }), h("ul", {}, ...f.conditions.map((t) => h("li", { text: t })))]
        : []),
    );
    qTable.lastChild.replaceChildren(quantileTable(f));
    setText(meaning, f.meaning);
    drawCharts();
    drawForm();
  };
  const panels = (c, widths) => [
    eChart(c, found, widths[0], 244),
    ...(found.q_n.length ? [quantileChart(c, found, widths[1], 250)] : []),
    ...(found.null_counts.length ? [nullChart(c, found, widths[2], 244)] : []),
  ];
  const drawCharts = () => {
    if (!root.isConnected) return;
    if (!found) return;
    const room = body.clientWidth || 900,
      two = room > 800,
      side = two ? (room - 24) / 2.15 : room,
      widths = [side, room, side],
      [e, q, n] = panels(
        COLOURS_PAGE,
        widths.map((w) => Math.max(280, Math.round(w))),
      );
    eBox.replaceChildren(e);
    qBox.replaceChildren(...(q ? [q] : []));
    nullBox.replaceChildren(...(n ? [n] : []));
    qTable.hidden = !q;
  };
  const figure = () => sideBySide(panels(COLOURS_PAPER, [460, 520, 460]).map(drawn));

  // --- the suspects compared
  const linesBox = h("div", { "data-testid": "lines" }),
    compare = h(
      "section",
      { class: "mn-section", "aria-label": "Suspects compared" },
      h("div", { class: "mn-side-head" }, h("h3", { text: "Suspects compared" })),
      linesBox,
    );
  const drawLines = () => {
    const lines = model.get("lines"),
      level = model.get("alpha"),
      busy = ["running", "stopping"].includes(model.get("status"));
    if (!lines.length) {
      linesBox.replaceChildren(
        h("p", {
          class: "mn-note",
          text:
            "Each question that is asked gets a line here, and Holm’s correction is over all of them: " +
            "asking more suspects, or one suspect in several ways, costs evidence.",
        }),
      );
      return;
    }
    const suspects = model.get("suspects").length;
    const show = (number) => send("show", { number });
    linesBox.replaceChildren(...linesParts(lines, { level, busy, suspects, shown: found?.number, show }));
  };

  // --- export, and what changes with what
  const stem = () => `provenance_${(found?.fields.suspect ?? "result").replace(/[^\w-]+/g, "_")}`,
    file = (kind, text) => button(`document-${kind}`, text, () => send("document", { kind }));
  const drawer = exportDrawer(model, (type, content) => send(type, { ...content, fields: shown() }), {
    stem,
    figure,
    table: () => quantilesCsv(found),
    example: "report.html, report.json, rows.csv",
    labels: {
      csv: "Rows by position (CSV)",
      save: "Save on the kernel’s machine: report (.html, .json) or rows (.csv)",
    },
    before: [file("html", "Report (HTML)"), file("json", "Result (JSON)"), file("csv", "Every row (CSV)")],
  });
  documents(model, listen, stem);
  listen(["found"], () => {
    drawAnswer();
  });
  listen(["lines"], drawLines);
  listen(["doubts"], drawForm);
  listen(["suspect", "transcript", "reference", "rows", "statistic", "rule", "alpha", "seed"], () => {
    drawForm();
    stale();
  });
  listen(["alpha"], drawLines);
  listen(["status", "progress", "error"], () => {
    stale();
    drawForm();
  });
  listen(["status", "found"], drawLines);
  root.addEventListener("input", stale);
  const close = frame.open(el, {
    parts: [form, answer, compare],
    drawer,
    box: answer,
    draw: drawCharts,
  });
  drawAnswer();
  drawForm();
  drawLines();
  return close;
}

export default { render };
