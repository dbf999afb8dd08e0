// InjectionBench: the next token beside the sliders, two maps, what the model goes on to say.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { ColourBar } from "../base/colourbar.js";
import { field, h, option, setText } from "../base/dom.js";
import { exportDrawer } from "../base/export.js";
import { sideBySide, svgFigure } from "../base/figure.js";
import { HeatMap } from "../base/heatmap.js";
import { shell } from "../base/shell.js";
import { absent, largest, number, shorten, visible } from "../base/text.js";
import { tiedControls } from "../base/traits.js";
import { liveParts } from "./live.js";
import { chance, csvOf, gain, plain, readMap } from "./numbers.js";

const ENCODERS = [
  ["activation", "activation"],
  ["unembed", "unembed (as published)"],
  ["embed", "embed"],
  ["head", "one head’s output"],
];

const POSITIONS = [
  ["all", "every token"],
  ["not_first", "all but the start token"],
  ["last", "last token"],
  ["subject", "the subject’s tokens"],
];

const CONTROLS = [
  ["shuffled", "another entity"],
  ["random_tokens", "random tokens"],
  ["random_direction", "random direction"],
];

const LIVE = ["prompt", "memory", "answer", "subject", "layer", "strength", "encoder", "head", "positions", "relative"];

const SLIDER = { low: -10, high: 20, step: 0.25 };

function render({ model, el }) {
  const note = (text) => h("span", { class: "mn-note", text });
  const frame = shell(model, {
    title: "Injection bench",
    testid: "injection-bench",
    name: "Injection bench",
    kind: "mn-bench",
    help: "Compute both maps",
    stop: "Stop after the layer in progress; finished layers stay",
    unit: "Layers computed",
    start: () => {
      flush();
      send("run", { fields: shown() });
    },
  });
  const { send, listen, root, row, error } = frame;
  const info = model.get("model_info");
  // Moves travel as messages: a front end sends those even while it holds back changed traits.
  const push = (values) => {
    for (const [k, v] of Object.entries(values)) model.set(k, v);
    send("move", { fields: { ...shown(), ...values } });
    fresh();
  };
  const { inputs, bound, shown, flush, area, line, choose } = tiedControls(model, listen, push);

  // --- what is injected where
  const items = model.get("items"),
    pick = h(
      "select",
      { "data-testid": "item", onchange: () => send("item", { index: Number(pick.value) }) },
      option("-1", "an item …"),
      ...items.map((text, i) => option(String(i), shorten(text, 80))),
    );
  const notes = h("div", { class: "mn-note", "data-testid": "notes" });
  const form = h(
    "div",
    { class: "mn-form" },
    h(
      "div",
      {},
      items.length ? field("Take from the items given", pick) : null,
      field("Prompt", area("prompt", { rows: 3 })),
      notes,
    ),
    h(
      "div",
      { class: "mn-pair" },
      field("Memory (what is injected)", line("memory", "e.g. “France”")),
      field("Answer (optional for the lists)", line("answer", "e.g. “ Paris”, with its space")),
      h(
        "div",
        { class: "mn-wide" },
        field(
          "Subject: the words of the prompt that stand for the memory (optional)",
          line("subject", "e.g. “the country of the Eiffel Tower”"),
        ),
      ),
    ),
  );
  const layer = bound(
      "layer",
      h("input", { type: "range", min: 0, max: Math.max(0, info.layers - 1), step: 1, "aria-label": "Layer" }),
    ),
    layerText = h("output", { class: "mn-p", "data-testid": "layer-text" });
  const strength = bound(
    "strength",
    h("input", { type: "number", step: SLIDER.step, "aria-label": "Strength, any number" }),
  );
  const unit = h("span", { class: "mn-label" });
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
    setText(unit, relative.checked ? "Strength (× the stream’s RMS)" : "Strength (× the memory’s vector)");
    setText(layerText, `${layer.value} of ${Math.max(0, info.layers - 1)}`);
  };
  for (const control of [layer, strength])
    for (const event of ["input", "pulled"]) control.addEventListener(event, follow);
  const head = field(
    "Head",
    choose(
      "head",
      Array.from({ length: info.heads }, (_, i) => [String(i), String(i)]),
    ),
  );
  const relative = bound("relative", h("input", { type: "checkbox" }));
  const controls = h(
    "div",
    { class: "mn-controls" },
    h("div", { class: "mn-field mn-slide" }, h("span", { class: "mn-label" }, "Layer ", layerText), layer),
    h("div", { class: "mn-field mn-slide" }, unit, h("div", { class: "mn-both" }, slider, strength)),
    field("Encoder", choose("encoder", ENCODERS)),
    head,
    field("Injected at", choose("positions", POSITIONS)),
    h(
      "label",
      { class: "mn-check", title: "Strength 1 is then a vector as long as the residual stream is at that layer" },
      relative,
      "relative to the residual stream’s RMS",
    ),
  );

  // --- the next token, live
  const lists = h("div", { class: "mn-lists", "data-testid": "lists" });
  const live = h(
    "section",
    { class: "mn-live", "data-testid": "live", "aria-label": "Next token", "aria-live": "polite" },
    h("div", { class: "mn-side-head" }, h("h3", { text: "Next token" }), h("span", { class: "mn-note", text: "" })),
    lists,
  );
  const liveNote = live.querySelector(".mn-note");
  const fresh = () => {
    const f = model.get("live").fields,
      now = shown();
    live.setAttribute("data-fresh", String(!!f && LIVE.every((k) => String(f[k]) === String(now[k]))));
  };
  const drawLive = () => {
    const l = model.get("live");
    live.setAttribute("data-status", l.status ?? "empty");
    setText(notes, l.notes ?? "");
    setText(liveNote, l.what ?? "");
    fresh();
    lists.replaceChildren(...liveParts(l));
  };

  // --- the maps
  const other = field("Other entity", line("other", "e.g. “Norway”")),
    seed = field("Seed", bound("seed", h("input", { type: "number", step: 1, min: 0 })));
  const mapControls = h(
    "div",
    { class: "mn-controls" },
    field("Control", choose("control", CONTROLS)),
    other,
    seed,
    field("Strengths (a list, or first:last:step)", line("strengths", "-2:8:1")),
    row,
  );
  let map = null,
    figure = null;
  const caption = h("div", { class: "mn-caption", "data-testid": "caption" }),
    stale = h("div", { class: "mn-warning", "data-testid": "stale", hidden: true });
  const scale = h(
    "select",
    { "data-testid": "scale", "aria-label": "Colour scale", onchange: () => draw() },
    option("gain", "scale: largest gain, at least 1 nat"),
    option("all", "scale: largest change"),
  );
  const legend = new ColourBar("colour-bar");
  const toolbar = h("div", { class: "mn-toolbar" }, scale, legend.element);
  const empty = h(
    "div",
    { class: "mn-empty", "data-testid": "empty" },
    h("strong", { text: "No map yet" }),
    h("p", {
      text:
        "Run injects the memory, and beside it a control, at every layer with every strength, and shows " +
        "how far the answer’s log-probability moves. A cell can be clicked as soon as it is there: the " +
        "sliders go to it.",
    }),
  );
  const label = (which) => (which === "memory" ? "memory" : "control");
  const values = (r, c) => {
    const i = map.at(r, c),
      lines = [["memory", `${gain(map.memory[i])} nats`]];
    if (map.control)
      lines.push(
        ["control", `${gain(map.control[i])} nats`],
        ["memory − control", `${gain(map.memory[i] - map.control[i])} nats`],
      );
    lines.push(["answer", chance(map.base + map.memory[i])]);
    if (map.memory_top?.[i]) lines.push(["most likely", visible(map.memory_top[i])]);
    return lines;
  };
  const place = (r, c) => `layer ${map.rows[r]}, strength ${plain(map.columns[c])}`;
  const say = (which) => (r, c) =>
    map ? [place(r, c), `${label(which)} map`, ...values(r, c).map(([k, v]) => `${k} ${v}`)].join(", ") : "";
  const select = (at) => {
    if (map) push({ layer: map.rows[at.row], strength: map.columns[at.column] });
  };
  const link = (target) => (at) => {
    if (target.grid) {
      target.linked = at;
      target.drawOverlay();
    }
  };
  const heat = (which, more, partner) =>
    new HeatMap({
      label:
        `${more}: change of the answer’s log-probability by layer and strength. Arrow keys move, Enter ` +
        `sets the sliders.`,
      testid: which === "memory" ? "map" : "control-map",
      name: say(which),
      select,
      hover: (at) => link(partner())(at),
    });
  const first = heat("memory", "Memory", () => second),
    second = heat("control", "Control", () => first);
  const firstCaption = h("h4", { "data-testid": "map-title" }),
    secondCaption = h("h4", { "data-testid": "control-title" });
  const secondBox = h("div", {}, secondCaption, second.element),
    maps = h("div", { class: "mn-maps" }, h("div", {}, firstCaption, first.element), secondBox);
  const mapBox = h(
    "section",
    { class: "mn-section", "aria-label": "Maps" },
    h("div", { class: "mn-side-head" }, h("h3", { text: "Every layer and strength" })),
    mapControls,
    error,
    empty,
    caption,
    stale,
    toolbar,
    maps,
  );

  const grid = (which, limit) => ({
    rows: map.shape[0],
    columns: map.shape[1],
    rowLabels: map.rows.map(String),
    columnLabels: map.columns.map((s) => ({ text: plain(s) })),
    rowTitle: "layer",
    columnTitle: map.axis,
    flip: true,
    colour: (r, c, theme) => {
      const v = map[which][map.at(r, c)];
      return Number.isNaN(v) ? null : theme.diverging(0.5 + v / limit / 2);
    },
    tip: (r, c) => [["", place(r, c)], ...values(r, c)],
  });
  const draw = () => {
    if (!root.isConnected) return;
    empty.hidden = !!map;
    for (const box of [caption, toolbar, maps, drawer.files]) box.hidden = !map;
    if (!map) {
      stale.hidden = true;
      return;
    }
    const arrays = map.control ? [map.memory, map.control] : [map.memory],
      size = Math.max(...arrays.map(largest)) || 1;
    const best = Math.max(0, ...arrays.map((a) => largest(a.map((v) => Math.max(v, 0))))),
      limit = scale.value === "gain" ? Math.max(1, best) : size,
      cut = size > limit * 1.0001;
    const room = mapBox.clientWidth || 600,
      two = !!map.control && room > 600,
      width = two ? (room - 24) / 2 : room;
    maps.classList.toggle("mn-two", two);
    secondBox.hidden = !map.control;
    const now = shown(),
      at = { row: map.rows.indexOf(now.layer), column: map.columns.indexOf(now.strength) },
      there = at.row >= 0 && at.column >= 0 ? at : null;
    for (const [heatMap, which] of [
      [first, "memory"],
      [second, "control"],
    ])
      if (map[which]) {
        heatMap.update(grid(which, limit), width);
        heatMap.selected = there;
        heatMap.drawOverlay();
        heatMap.announce();
      }
    setText(firstCaption, `memory: ${visible(map.memory_name)}`);
    setText(secondCaption, `control: ${map.control_what}`);
    setText(
      caption,
      `${map.what} · answer ${visible(map.answer)}, unedited ${chance(map.base)} (${number(map.base)} ` +
        `nats)` +
        (absent(map.single) ? "" : `; after “${visible(map.explicit).replace(/·/g, " ")}” ${chance(map.single)}`) +
        `${map.complete ? "" : " · partial"}`,
    );
    const changed = Object.entries(map.fields)
      .filter(([k, v]) => String(v) !== String(now[k]))
      .map(([k]) => k);
    stale.hidden = !changed.length;
    stale.replaceChildren(
      `These maps were computed with another ${changed.join(", ")}. `,
      h("button", {
        type: "button",
        class: "mn-button mn-small",
        "data-testid": "restore",
        text: "Back to the maps’ question",
        onclick: () => push(map.fields),
      }),
    );
    const title = "change of the answer’s log-probability (nats)";
    const low = `${cut ? "≤ " : ""}${number(-limit)}`;
    legend.update({ ramp: first.theme.diverging, low, middle: "0", high: gain(limit), title });
    figure = () =>
      sideBySide(
        ["memory", "control"]
          .filter((which) => map[which])
          .map((which) =>
            svgFigure(grid(which, limit), {
              title: shorten(
                which === "memory" ? `memory: ${visible(map.memory_name)}` : `control: ${map.control_what}`,
                44,
              ),
              subtitle: shorten(`${map.model}: ${map.what}; answer ${visible(map.answer)}`, 64),
              bar: "change of ln p (nats)",
              limit,
              low,
            }),
          ),
      );
  };
  const readMaps = () => {
    map = readMap(model.get("map"));
    draw();
  };

  // --- generation
  const texts = h("div", { class: "mn-texts", "data-testid": "texts" }),
    count = bound("new_tokens", h("input", { type: "number", min: 1, max: 500, step: 1 }));
  const generate = h("button", {
    type: "button",
    class: "mn-button",
    "data-testid": "generate",
    text: "Generate",
    onclick: () => {
      flush();
      send("generate", { fields: shown() });
    },
  });
  const stopText = () => {
    if (model.get("generation").status === "running") send("stop_generation");
  };
  const halt = h("button", {
    type: "button",
    class: "mn-button",
    "data-testid": "stop-generation",
    text: "Stop",
    "aria-label": "Stop writing",
    title: "Stop after the token in progress; what is written stays (Escape in this section)",
    onclick: stopText,
  });
  const written = h("span", { class: "mn-note", role: "status", "data-testid": "generation-status" });
  const generation = h(
    "section",
    {
      class: "mn-section",
      "data-testid": "generation",
      "aria-label": "Generation",
      onkeydown: (e) => {
        if (e.key === "Escape") {
          e.stopPropagation();
          stopText();
        }
      },
    },
    h("div", { class: "mn-side-head" }, h("h3", { text: "What it goes on to say" })),
    h(
      "div",
      { class: "mn-controls" },
      field("New tokens", count),
      h("div", { class: "mn-both" }, generate, halt, written),
      note("greedy; “every token” and “all but the start token” include the new ones"),
    ),
    texts,
  );
  const text = (title, g, key) =>
    h(
      "div",
      {},
      h("h4", { text: title }),
      h(
        "p",
        { class: "mn-said", "data-testid": `said-${key}` },
        note(g.prompt),
        g[key] === undefined ? note(g.status === "stopped" ? " (not begun)" : " …") : h("strong", { text: g[key] }),
        g.cut === key ? note(" (stopped here)") : null,
      ),
    );
  const drawTexts = () => {
    const g = model.get("generation");
    generation.setAttribute("data-status", g.status ?? "idle");
    halt.disabled = g.status !== "running";
    setText(
      written,
      { running: "writing …", stopping: "stopping …", stopped: "stopped; what was written stays" }[g.status] ?? "",
    );
    texts.replaceChildren(
      ...(!g.status
        ? []
        : g.status === "error"
          ? [h("div", { class: "mn-error", role: "alert" }, h("strong", { text: g.title }), h("pre", { text: g.text }))]
          : [text("unedited", g, "before"), text(`injected: ${g.what}`, g, "after")]),
    );
  };

  // --- what changes with what
  const drawer = exportDrawer(model, send, {
    stem: () => `injection_${map.fields.encoder}_${map.fields.positions}`,
    figure: () => figure(),
    table: () => csvOf(map),
    example: "injection.zarr, injection.nc, injection.csv, injection.parquet",
  });
  const drawChoices = () => {
    head.hidden = inputs.encoder.value !== "head";
    other.hidden = inputs.control.value !== "shuffled";
    seed.hidden = inputs.control.value === "shuffled";
    for (const o of inputs.positions.options) o.disabled = o.value === "subject" && !inputs.subject.value.trim();
    follow();
  };
  listen(["live"], drawLive);
  listen(["map"], readMaps);
  listen([...LIVE, "control", "other", "seed", "strengths"], () => {
    drawChoices();
    draw();
    fresh();
  });
  listen(["generation"], drawTexts);
  root.addEventListener("input", () => {
    drawChoices();
    fresh();
  });
  const close = frame.open(el, {
    parts: [form, controls, live, mapBox, generation],
    drawer,
    box: mapBox,
    draw,
  });
  drawChoices();
  drawLive();
  readMaps();
  drawTexts();
  return close;
}

export default { render };
