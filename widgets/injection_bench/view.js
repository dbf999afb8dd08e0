// InjectionBench: the next token beside the sliders, two maps, what the model goes on to say.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { field, h, option, setText } from "../base/dom.js";
import { exportDrawer } from "../base/export.js";
import { shell } from "../base/shell.js";
import { placeControls } from "../base/strength.js";
import { shorten } from "../base/text.js";
import { tiedControls } from "../base/traits.js";
import { generationPanel } from "./generation.js";
import { liveParts } from "./live.js";
import { mapPanel } from "./maps.js";
import { csvOf } from "./numbers.js";

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
  const unit = h("span"),
    place = placeControls(bound, {
      layers: info.layers,
      ends: SLIDER,
      name: "Layer ",
      strengthName: unit,
      drawn: () =>
        setText(unit, relative.checked ? "Strength (× the stream’s RMS)" : "Strength (× the memory’s vector)"),
    });
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
    ...place.elements,
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
  const maps = mapPanel({ model, root, controls: mapControls, error, push, shown });
  const generation = generationPanel({
    model,
    send,
    bound,
    begin: () => {
      flush();
      send("generate", { fields: shown() });
    },
  });

  // --- what changes with what
  const drawer = exportDrawer(model, send, {
    stem: () => `injection_${maps.map().fields.encoder}_${maps.map().fields.positions}`,
    figure: maps.figure,
    table: () => csvOf(maps.map()),
    example: "injection.zarr, injection.nc, injection.csv, injection.parquet",
  });
  const drawChoices = () => {
    head.hidden = inputs.encoder.value !== "head";
    other.hidden = inputs.control.value !== "shuffled";
    seed.hidden = inputs.control.value === "shuffled";
    for (const o of inputs.positions.options) o.disabled = o.value === "subject" && !inputs.subject.value.trim();
    place.follow();
  };
  const draw = () => {
    maps.draw();
    drawer.files.hidden = !maps.map();
  };
  const read = () => {
    maps.read();
    drawer.files.hidden = !maps.map();
  };
  listen(["live"], drawLive);
  listen(["map"], read);
  listen([...LIVE, "control", "other", "seed", "strengths"], () => {
    drawChoices();
    draw();
    fresh();
  });
  listen(["generation"], generation.draw);
  root.addEventListener("input", () => {
    drawChoices();
    fresh();
  });
  const close = frame.open(el, {
    parts: [form, controls, live, maps.element, generation.element],
    drawer,
    box: maps.element,
    draw,
  });
  drawChoices();
  drawLive();
  read();
  generation.draw();
  return close;
}

export default { render };
