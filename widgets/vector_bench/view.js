// VectorBench: the table of pairs, the head map, live answers, the report.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { ColourBar } from "../base/colourbar.js";
import { field, h, option, setText } from "../base/dom.js";
import { exportDrawer } from "../base/export.js";
import { sideBySide, svgFigure } from "../base/figure.js";
import { HeatMap } from "../base/heatmap.js";
import { tokenBars } from "../base/predictions.js";
import { shell } from "../base/shell.js";
import { absent, largest, many, number, percent, shorten, visible } from "../base/text.js";
import { tiedControls } from "../base/traits.js";
import { csvOf, OWN, pairTable, plus, points, readMap, same, whole } from "./table.js";

const SLIDER = { low: -4, high: 8, step: 0.25 };

const LIVE = ["template", "seed", "k", "by_hand", "layer", "strength", "queries"];

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

  // --- the heads
  let map = null,
    figure = null;
  const caption = h("div", { class: "mn-caption", "data-testid": "caption" }),
    stale = h("div", { class: "mn-warning", "data-testid": "stale", hidden: true }),
    notes = h("div", { class: "mn-warning", "data-testid": "map-notes", hidden: true });
  const legend = new ColourBar("colour-bar"),
    empty = h(
      "div",
      { class: "mn-empty", "data-testid": "empty" },
      h("strong", { text: "No head map yet" }),
      h("p", {
        text:
          "“Find heads” measures how much each attention head tells the model what the task is. The " +
          "strongest heads’ outputs add up to a vector that can be added to a prompt without any " +
          "demonstration.",
      }),
    );
  const chosen = () => (model.get("by_hand") ? model.get("heads") : (model.get("live").heads ?? []));
  const isChosen = (r, c) => chosen().some((x) => same(x, [map.rows[r], map.columns[c]]));
  const values = (r, c) =>
    map.sides.flatMap((side) => {
      const i = map.at(r, c),
        low = map[`${side}_low`],
        p = map[`${side}_p_holm`],
        lead = map.sides.length > 1 ? `${side}: ` : "";
      return [
        [`${lead}effect`, plus(map[side][i])],
        ...(low && !absent(low[i]) ? [[`${lead}95 %`, `${plus(low[i])} to ${plus(map[`${side}_high`][i])}`]] : []),
        ...(p && !absent(p[i]) ? [[`${lead}p (Holm)`, p[i] < 0.001 ? "< 0.001" : number(p[i])]] : []),
      ];
    });
  const say = (side) => (r, c) =>
    map
      ? [
          `layer ${map.rows[r]}, head ${map.columns[c]}`,
          ...(map.sides.length > 1 ? [`map of ${names[side]}`] : []),
          ...values(r, c).map(([k, v]) => `${k} ${v}`),
          isChosen(r, c) ? "chosen" : "not chosen",
        ].join(", ")
      : "";
  const toggle = (head) => {
    const now = chosen(),
      kept = now.filter((x) => !same(x, head));
    push({ by_hand: true, heads: kept.length < now.length ? kept : [...now, head] });
    drawHeads();
  };
  const link = (target) => (at) => {
    if (target.grid) {
      target.linked = at;
      target.drawOverlay();
    }
  };
  const heat = (side, testid, partner) =>
    new HeatMap({
      label:
        `${names[side]}: effect of every head on the answer’s probability. Arrow keys move, Enter chooses ` +
        `a head or leaves it out.`,
      testid,
      name: say(side),
      select: (at) => {
        if (map) toggle([map.rows[at.row], map.columns[at.column]]);
      },
      hover: (at) => link(partner())(at),
    });
  const first = heat("before", "map", () => second),
    second = heat("after", "after-map", () => first);
  const firstCaption = h("h4", { "data-testid": "map-title" }),
    secondCaption = h("h4", { "data-testid": "after-title" }),
    secondBox = h("div", {}, secondCaption, second.element);
  const maps = h("div", { class: "mn-maps" }, h("div", {}, firstCaption, first.element), secondBox);
  const chips = h("ul", { class: "mn-chips", "data-testid": "chips" }),
    chipTitle = h("h4", { "data-testid": "chosen-title" }),
    decoded = h("div", { "data-testid": "decoded" });
  const aside = h(
      "div",
      {},
      chipTitle,
      h("p", { class: "mn-note", text: "Click a cell of the map to add a head or to leave it out." }),
      chips,
    ),
    found = h("div", { class: "mn-found" }, maps, aside);
  const k = bound(
      "k",
      h("input", { type: "range", min: 1, max: 40, step: 1, "aria-label": "Number of strongest heads" }),
    ),
    kText = h("output", { class: "mn-p", "data-testid": "k-text" });
  const topAgain = h("button", {
    type: "button",
    class: "mn-button mn-small",
    "data-testid": "top",
    text: "Back to the strongest heads",
    onclick: () => {
      push({ k: Number(k.value) });
      drawHeads();
    },
  });
  k.max = Math.max(1, Math.min(60, info.layers * info.heads || 60));
  const headBox = h(
    "section",
    { class: "mn-section", "aria-label": "Heads" },
    h("div", { class: "mn-side-head" }, h("h3", { text: "Heads that carry the task" }), legend.element),
    empty,
    caption,
    notes,
    stale,
    found,
  );
  const grid = (side, limit) => ({
    rows: map.shape[0],
    columns: map.shape[1],
    rowLabels: map.rows.map(String),
    columnLabels: map.columns.map((c) => ({ text: String(c) })),
    rowTitle: "layer",
    columnTitle: "head",
    flip: true,
    colour: (r, c, theme) => {
      const v = map[side][map.at(r, c)];
      return Number.isNaN(v) ? null : theme.diverging(0.5 + v / limit / 2);
    },
    tip: (r, c) => [
      ["", `layer ${map.rows[r]}, head ${map.columns[c]}`],
      ...values(r, c),
      ["", isChosen(r, c) ? "chosen: Enter or click leaves it out" : "Enter or click chooses it"],
    ],
  });
  const drawHeads = () => {
    const now = chosen(),
      hand = model.get("by_hand");
    topAgain.hidden = !hand || !map;
    setText(chipTitle, `${many(now.length, "head")} in the vector${hand ? ", chosen by hand" : ""}`);
    setText(kText, hand ? `${k.value} (now by hand: ${now.length})` : String(k.value));
    chips.replaceChildren(
      ...now.map(([l, x]) =>
        h(
          "li",
          {},
          h("button", {
            type: "button",
            text: `${l}.${x}`,
            title: `Leave out layer ${l}, head ${x}`,
            "aria-label": `${l}.${x}: leave out layer ${l}, head ${x}`,
            onclick: () => toggle([l, x]),
          }),
        ),
      ),
    );
    if (!map) return;
    for (const heatMap of [first, second])
      if (heatMap.grid) {
        heatMap.selected = null;
        heatMap.marks = now
          .map(([l, x]) => ({ row: map.rows.indexOf(l), column: map.columns.indexOf(x) }))
          .filter((m) => m.row >= 0 && m.column >= 0);
        heatMap.drawOverlay();
        heatMap.announce();
      }
  };
  const draw = () => {
    if (!root.isConnected) return;
    empty.hidden = !!map;
    for (const box of [caption, found, legend.element, drawer.files]) box.hidden = !map;
    if (!map) {
      stale.hidden = notes.hidden = true;
      drawHeads();
      return;
    }
    const two = map.sides.length > 1,
      limit = Math.max(...map.sides.map((s) => largest(map[s]))) || 1,
      room = headBox.clientWidth || 600,
      wide = two && room > 620;
    const under = two || room < 700;
    found.classList.toggle("mn-under", under);
    maps.classList.toggle("mn-two", wide);
    secondBox.hidden = !two;
    const width = wide ? (room - 24) / 2 : under ? room : Math.min(room - 250, 620);
    for (const [heatMap, side] of [
      [first, "before"],
      [second, "after"],
    ])
      if (map[side]) heatMap.update(grid(side, limit), width);
    for (const [title, side] of [
      [firstCaption, "before"],
      [secondCaption, "after"],
    ])
      setText(
        title,
        `${names[side]}` +
          `${absent(map.bases[side]) ? "" : ` · with shuffled labels the answer has ${percent(map.bases[side])}`}`,
      );
    setText(
      caption,
      `${map.task}, template ${map.template}, ${many(map.shots, "demonstration")} · mean over ` +
        `${many(map.n, "prompt")}${map.complete ? "" : " · partial"}`,
    );
    const now = { ...shown(), task: model.get("task") },
      changed = Object.entries(map.fields)
        .filter(([key, v]) => String(v) !== String(now[key]))
        .map(([key]) => key);
    stale.hidden = !changed.length;
    setText(notes, map.notes.join(" "));
    notes.hidden = !map.notes.length;
    setText(
      stale,
      `This map was measured with another ` +
        `${changed.join(", ").replace("trials", "number of prompts").replace("shots", "number of demonstrations")}` +
        `; the vector is still made from it. “Find heads” measures anew.`,
    );
    const title = "effect on the answer’s probability";
    legend.update({ ramp: first.theme.diverging, low: number(-limit), middle: "0", high: plus(limit), title });
    figure = () =>
      sideBySide(
        map.sides.map((s) =>
          svgFigure(grid(s, limit), {
            title: shorten(names[s], 44),
            subtitle: shorten(`${map.task}, ${map.template}, ${map.n} prompts`, 60),
            bar: "effect on p(answer)",
            limit,
          }),
        ),
      );
    drawHeads();
  };
  const readMaps = () => {
    map = readMap(model.get("map"));
    draw();
  };

  // --- the vector, live
  const layer = bound(
      "layer",
      h("input", { type: "range", min: 0, max: Math.max(0, info.layers - 1), step: 1, "aria-label": "Layer" }),
    ),
    layerText = h("output", { class: "mn-p", "data-testid": "layer-text" });
  const strength = bound(
    "strength",
    h("input", { type: "number", step: SLIDER.step, "aria-label": "Strength, any number" }),
  );
  const slider = h("input", {
    type: "range",
    min: SLIDER.low,
    max: SLIDER.high,
    step: SLIDER.step,
    "data-testid": "strength-slider",
    "aria-label": `Strength, ${SLIDER.low} to ${SLIDER.high}`,
  });
  slider.oninput = () => {
    strength.value = slider.value;
    strength.dispatchEvent(new Event("input"));
  };
  const follow = () => {
    slider.value = strength.value;
    setText(layerText, `${layer.value} of ${Math.max(0, info.layers - 1)}`);
    if (!model.get("by_hand")) setText(kText, k.value);
  };
  for (const control of [layer, strength, k])
    for (const event of ["input", "pulled"]) control.addEventListener(event, follow);
  const controls = h(
    "div",
    { class: "mn-controls" },
    h("div", { class: "mn-field mn-slide" }, h("span", { class: "mn-label" }, "Strongest heads ", kText), k),
    h("div", { class: "mn-field mn-slide" }, h("span", { class: "mn-label" }, "Added after layer ", layerText), layer),
    h(
      "div",
      { class: "mn-field mn-slide" },
      h("span", { class: "mn-label", text: "Strength (× the vector)" }),
      h("div", { class: "mn-both" }, slider, strength),
    ),
    field("Prompts", amount("queries", { min: 1, max: 64 })),
    topAgain,
  );
  const read = h("div", { class: "mn-read", "data-testid": "read" }),
    liveNote = h("span", { class: "mn-note" });
  const live = h(
    "section",
    { class: "mn-section mn-live", "data-testid": "live", "aria-label": "The vector on bare prompts" },
    h("div", { class: "mn-side-head" }, h("h3", { text: "The vector on bare prompts" }), liveNote),
    controls,
    read,
  );
  const fresh = () => {
    const f = model.get("live").fields,
      now = { ...shown(), by_hand: model.get("by_hand") };
    live.setAttribute(
      "data-fresh",
      String(
        !!f &&
          LIVE.every((key) => String(f[key]) === String(now[key])) &&
          (!model.get("by_hand") || JSON.stringify(model.get("heads")) === JSON.stringify(model.get("live").heads)),
      ),
    );
  };
  const share = (a) =>
    a
      ? h(
          "span",
          { class: "mn-share", title: `${a.k} of ${a.n} right; 95 % interval ${whole(a.low)} to ${whole(a.high)} %` },
          h(
            "span",
            { class: "mn-track", "aria-hidden": "true" },
            h("span", { class: "mn-fill", style: `width:${(100 * a.k) / a.n}%` }),
            h("span", { class: "mn-range", style: `left:${100 * a.low}%;width:${100 * (a.high - a.low)}%` }),
          ),
          h("span", { text: `${a.k} of ${a.n} (${whole(a.low)}–${whole(a.high)} %)` }),
        )
      : "–";
  const head = (...titles) => h("thead", {}, h("tr", {}, ...titles.map((t) => h("th", { scope: "col", text: t }))));
  const answer = (pair, text) =>
    pair
      ? h(
          "td",
          { class: pair[1] ? "mn-right" : "mn-not" },
          h("code", {
            text: shorten(visible(text ?? pair[0]), 26),
            title: visible(text ?? pair[0]),
            "aria-label": `${visible(text ?? pair[0])}${pair[1] ? ", right" : ""}`,
          }),
        )
      : h("td", { text: "–" });
  const drawLive = () => {
    const l = model.get("live"),
      s = model.get("samples");
    live.setAttribute("data-status", l.status ?? "empty");
    setText(liveNote, l.what ?? "");
    fresh();
    if (l.status === "error") {
      read.replaceChildren(
        h(
          "div",
          { class: "mn-error", role: "alert", "data-testid": "live-error" },
          h("strong", { text: l.title }),
          h("pre", { text: l.text }),
        ),
      );
      return;
    }
    if (!l.sides) {
      read.replaceChildren(
        h(
          "div",
          { class: "mn-empty" },
          h("strong", { text: l.status === "running" ? "Reading the prompts …" : "Nothing to read yet" }),
          h("p", { text: l.text ?? "" }),
        ),
      );
      return;
    }
    const said = s.rows && JSON.stringify([s.fields, s.heads]) === JSON.stringify([l.fields, l.heads]) ? s.rows : [],
      two = l.sides.length > 1;
    const table = h(
      "table",
      { class: "mn-table", "data-testid": "accuracy" },
      head(two ? "model" : "", "without the vector", "with the vector", "mean p of the first token"),
      h(
        "tbody",
        {},
        ...l.sides.map((x) =>
          h(
            "tr",
            {},
            h("th", { scope: "row", text: two ? names[x.side] : "right answers" }),
            h("td", {}, share(x.base)),
            h("td", {}, share(x.with)),
            h("td", { text: `${percent(x.prob[0])}${absent(x.prob[1]) ? "" : ` → ${percent(x.prob[1])}`}` }),
          ),
        ),
      ),
    );
    const answers = h(
      "table",
      { class: "mn-table mn-answers", "data-testid": "answers" },
      head(
        "input",
        "expected",
        ...l.sides.flatMap((x) =>
          two ? [`${x.side}, without`, `${x.side}, with`] : ["without the vector", "with the vector"],
        ),
      ),
      h(
        "tbody",
        {},
        ...l.items.map((item, i) =>
          h(
            "tr",
            {},
            h("th", { scope: "row" }, h("code", { text: shorten(visible(item.x), 24), title: visible(item.x) })),
            h("td", {}, h("code", { text: shorten(visible(item.y), 20), title: visible(item.y) })),
            ...item.sides.flatMap((x, j) => [
              answer(x.base, said[i]?.sides[j]?.base),
              answer(x.with, said[i]?.sides[j]?.with),
            ]),
          ),
        ),
      ),
    );
    decoded.replaceChildren(
      ...(l.decoded
        ? [
            tokenBars("what the vector says by itself", l.decoded.slice(0, 8), new Map()),
            h("p", { class: "mn-note", text: "read through the model’s last layer: a hint, no test" }),
            h("p", { class: "mn-note", text: `length ${number(l.norm)}` }),
            ...(absent(l.cosine)
              ? []
              : [
                  h("p", {
                    "data-testid": "cosine",
                    text: `cosine with the vector of the same heads in ${names.after}: ${number(l.cosine)}`,
                  }),
                ]),
          ]
        : [h("p", { class: "mn-note", text: l.text ?? "" })]),
    );
    read.replaceChildren(
      h(
        "div",
        {},
        h("div", { class: "mn-tablebox" }, table),
        h("div", { class: "mn-tablebox" }, answers),
        h("p", {
          class: "mn-note",
          text:
            `validation prompts without demonstrations; ✓ the whole answer is the greedy one; most likely ` +
            `next token${said.length ? ", the first rows continued" : ""}`,
        }),
        ...(s.text ? [h("div", { class: "mn-warning", text: s.text })] : []),
        ...(l.warning ? [h("div", { class: "mn-warning", "data-testid": "live-warning", text: l.warning })] : []),
      ),
      decoded,
    );
  };

  // --- the test split
  const test = h("button", {
      type: "button",
      class: "mn-button",
      "data-testid": "test",
      text: "Report on test",
      title: "Read the prompts that were kept apart, once you have chosen",
      onclick: () => {
        pairs.flush();
        flush();
        send("test", { fields: shown() });
      },
    }),
    reportBox = h("div", { "data-testid": "report" });
  const testBox = h(
    "section",
    { class: "mn-section", "aria-label": "Test" },
    h("div", { class: "mn-side-head" }, h("h3", { text: "On the test split" }), test),
    reportBox,
  );
  const drawReport = () => {
    const r = model.get("report");
    testBox.setAttribute("data-status", r.status ?? "idle");
    test.disabled = r.status === "running";
    if (r.status === "error") {
      reportBox.replaceChildren(
        h(
          "div",
          { class: "mn-error", role: "alert", "data-testid": "report-error" },
          h("strong", { text: r.title }),
          h("pre", { text: r.text }),
        ),
      );
      return;
    }
    if (!r.rows) {
      reportBox.replaceChildren(
        h("p", {
          class: "mn-note",
          text:
            r.status === "running"
              ? "Reading the test prompts …"
              : "Choose heads, layer and strength above first. The test split then says how well they do " +
                "on pairs that nothing was chosen by, beside a random vector of the same length.",
        }),
      );
      return;
    }
    const two = new Set(r.rows.map((x) => x.side)).size > 1,
      p = (v) => (absent(v) ? "–" : v < 0.001 ? "< 0.001" : number(v));
    const span = (x, lead) =>
      absent(x[`${lead}difference`])
        ? "–"
        : `${points(x[`${lead}difference`])} (` +
          (absent(x[`${lead}difference_low`])
            ? "no interval"
            : `${points(x[`${lead}difference_low`])} to ${points(x[`${lead}difference_high`])}`) +
          `)`;
    reportBox.replaceChildren(
      h("p", { class: "mn-note", text: r.what }),
      h(
        "div",
        { class: "mn-tablebox" },
        h(
          "table",
          { class: "mn-table mn-answers" },
          head(...(two ? ["model"] : []), "", "right answers", "against no vector, points", "p"),
          h(
            "tbody",
            {},
            ...r.rows.map((x) =>
              h(
                "tr",
                {},
                ...(two ? [h("th", { scope: "row", text: names[x.side] })] : []),
                h("th", { scope: "row", text: x.name }),
                h("td", {}, share(x)),
                h("td", { text: span(x, "") }),
                h("td", { text: p(x.p) }),
              ),
            ),
          ),
        ),
      ),
      ...r.rows
        .filter((x) => !absent(x.control_difference))
        .map((x) =>
          h("p", {
            text:
              `${two ? `${names[x.side]}: ` : ""}vector against the random one: ${span(x, "control_")} ` +
              `points, p ${p(x.control_p)}`,
          }),
        ),
      h("p", {
        class: "mn-note",
        text:
          `${many(r.n, "test prompt")}, 95 % intervals: exact for accuracies, paired bootstrap for ` +
          `differences; p ${r.p_kinds}. Read ${r.times === 1 ? "once" : `${r.times} times`} for this task` +
          `${r.times > 1 ? ": what is chosen by looking here is no longer tested by it" : ""}.`,
      }),
    );
  };

  // --- export, and what changes with what
  const drawer = exportDrawer(model, (type, content) => send(type, { ...content, fields: shown() }), {
    stem: () => `heads_${map.task.replace(/[^\w-]+/g, "_")}`,
    figure: () => figure(),
    table: () => csvOf(map),
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
  listen(["pairs"], () => pairs.update(model.get("pairs")));
  listen(["table", "task"], () => {
    drawTable();
    draw();
  });
  listen(["live"], () => {
    drawLive();
    drawHeads();
  });
  listen(["samples"], drawLive);
  listen(["map"], readMaps);
  listen(["report"], drawReport);
  listen(["by_hand", "heads"], () => {
    drawHeads();
    fresh();
  });
  listen(["k", "layer", "strength", "template", "shots", "seed", "trials"], () => {
    follow();
    draw();
    fresh();
  });
  root.addEventListener("input", () => {
    follow();
    fresh();
  });
  const close = frame.open(el, {
    parts: [form, headBox, live, testBox],
    drawer,
    box: headBox,
    draw,
  });
  pairs.update(model.get("pairs"));
  pairs.draw();
  follow();
  drawTable();
  drawLive();
  readMaps();
  drawReport();
  return close;
}

export default { render };
