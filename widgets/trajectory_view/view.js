// TrajectoryView: labelled prompts over the layers, a gate on one label, and answers with and without its edit.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { drawn, PAGE_COLOURS, PAPER_COLOURS } from "../base/charts.js";
import { themeOf } from "../base/colour.js";
import { emptyBox, errorBox, field, h, option, section, setText, slide } from "../base/dom.js";
import { exportDrawer } from "../base/export.js";
import { sideBySide } from "../base/figure.js";
import { shell } from "../base/shell.js";
import { TokenStrip } from "../base/strip.js";
import { csvLine, plainly, share, short, shorten, visible } from "../base/text.js";
import { floats, tiedControls } from "../base/traits.js";
import { gateChart, gateKey, stateAt } from "./gate.js";
import { PAGE_LABELS, PAPER_LABELS, planeChart, planeKey } from "./plane.js";
import { layerTable, rateTable, rightTable } from "./tables.js";

/** The picture with its buffers as numbers. */
const read = (p) => {
  if (!p.labels) return null;
  const place = floats(p.place),
    centroid = floats(p.centroid),
    I = p.items.length,
    K = p.labels.length;
  return {
    ...p,
    nearest: floats(p.nearest),
    margin: floats(p.margin),
    placeAt: (l, i) => [place[2 * (l * I + i)], place[2 * (l * I + i) + 1]],
    centroidAt: (l, k) => [centroid[2 * (l * K + k)], centroid[2 * (l * K + k) + 1]],
  };
};

function render({ model, el }) {
  const frame = shell(model, {
    title: "Trajectories and gates",
    testid: "trajectory-view",
    name: "Trajectories and gates",
    kind: "mn-panels mn-trajectories",
    label: "Fit",
    help: "Read all items, fit the gate, answer with and without its edit",
    stop: "Stop after the part in progress; what is computed by then stays",
    unit: "Parts computed",
    start: () => {
      flush();
      send("run", { fields: shown() });
    },
  });
  const { send, listen, set, root, row, error, line } = frame,
    get = (name) => model.get(name);
  const { inputs, bound, shown, flush, line: typed, choose } = tiedControls(model, listen, set);
  const layerOut = h("span", { class: "mn-value" });
  const layerInput = bound(
    "layer",
    h("input", {
      type: "range",
      min: 0,
      max: Math.max(0, get("model_info").layers - 1),
      step: 1,
      "aria-label": "Layer",
    }),
  );
  const target = choose("target", []),
    toward = choose("toward", []);
  const controls = h(
    "div",
    { class: "mn-controls" },
    field("Gate opens at", target),
    field("and pushes to", toward),
    field(
      "Gate reads",
      choose("kind", [
        ["nearest", "nearest centroid"],
        ["cosine", "cosine with the direction"],
        ["projection", "projection on the direction"],
      ]),
    ),
    slide("behind block ", layerOut, layerInput),
    field("Strength", bound("strength", h("input", { type: "number", step: "any" }))),
    field(
      "Looked at",
      choose("acts", [
        ["first", "at the prompt’s end"],
        ["each", "at every new token too"],
      ]),
    ),
    row,
  );

  // --- parts
  const empty = emptyBox(
      "Nothing computed yet",
      "Fit reads the items at every layer, draws the way of their labels’ mean states, fits a gate that opens at one " +
        "label, and writes answers with and without the edit behind it.",
    ),
    busy = h("div", { class: "mn-empty", "data-testid": "busy" }, h("strong", { text: "Reading the items …" })),
    caption = h("p", { class: "mn-caption", "data-testid": "caption" }),
    planeBox = h("div", { "data-testid": "plane" }),
    layersBox = h("div"),
    gateBox = h("div", { "data-testid": "gate" }),
    gateSaid = h("p", { class: "mn-note", "data-testid": "gate-said" }),
    answersBox = h("div", { "data-testid": "answers", "aria-live": "polite" }),
    ratesBox = h("div"),
    item = h("select", {
      "data-testid": "item",
      "aria-label": "Report item",
      onchange: () => set({ item: Number(item.value), prompt: "" }),
    });
  const prompt = typed("prompt", "empty: the item above");
  let token = -1;
  const strip = new TokenStrip({
    label: "Tokens with the gated edit. Arrow keys tell what the gate read at each.",
    testid: "tokens",
    choose: (i) => {
      token = i;
      drawPrompt();
    },
  });

  const fill = (select, names, value) => {
    if ([...select.options].map((o) => o.value).join("\n") !== names.join("\n"))
      select.replaceChildren(...names.map((name) => option(name, plainly(name))));
    select.value = value;
  };
  const drawControls = () => {
    fill(target, get("labels"), get("target"));
    fill(toward, get("labels"), get("toward"));
    const info = get("model_info");
    layerInput.max = Math.max(0, info.layers - 1);
    layerInput.value = get("layer");
    setText(layerOut, String(get("layer")));
    setText(line, info.text);
  };

  let p = null;
  const ready = () => get("detail").status === "ready",
    layerNow = () => Math.max(0, Math.min(p.layers - 1, get("layer"))),
    wayNow = () => (get("detail").run === p.run ? (get("detail").place ?? null) : null);

  const drawItems = () => {
    if (!p) return;
    const groups = new Map();
    p.items.forEach(({ text, label }, i) => {
      if (!groups.has(label)) groups.set(label, h("optgroup", { label: plainly(label) }));
      groups.get(label).append(option(String(i), shorten(plainly(text), 70)));
    });
    item.replaceChildren(...groups.values());
  };

  const drawPlane = () => {
    const layer = layerNow(),
      own = p.own[layer],
      way = wayNow(),
      room = Math.min(planeBox.clientWidth || 560, 760);
    planeBox.replaceChildren(
      planeChart(PAGE_COLOURS, PAGE_LABELS, p, { layer, way, width: room, height: Math.round(0.62 * room) + 20 }),
      planeKey(PAGE_COLOURS, PAGE_LABELS, p, h, way),
    );
    setText(
      caption,
      `One plane for all layers, fitted on the ${p.fitted_on} train items: the two directions in which their labels’ ` +
        `mean states vary most. Behind block ${layer} it holds ${share(own[5])} of the variance of those means and ` +
        `${share(own[4])} of all variance of the train items. Lines are means, marks grow from the first layer ` +
        `to the ` +
        `last; outlines are the report items behind block ${layer}.`,
    );
  };

  const drawPrompt = () => {
    const d = get("detail"),
      here = p && d.run === p.run;
    item.value = here && d.item >= 0 ? String(d.item) : "";
    for (const part of [strip.element, gateBox, gateSaid]) part.hidden = !here || !ready();
    if (!here) {
      answersBox.replaceChildren();
      return;
    }
    if (!ready()) {
      answersBox.replaceChildren(
        d.status === "error"
          ? errorBox("The prompt could not be answered", d.why, "prompt-error")
          : h("p", {
              class: "mn-note",
              text: d.status === "waiting" ? "There is no gate yet; press Fit." : "Writing …",
            }),
      );
      return;
    }
    const g = d.gated,
      theme = themeOf(root),
      at = token >= 0 && token < g.tokens.length ? token : d.prompt - 1;
    strip.update(
      g.tokens.map((text, i) => ({
        token: text,
        colour: g.open[i] ? theme.diverging(0.85) : null,
        says: `${stateAt(g, i, d.prompt)}, reads ${short(g.reading[i])}`,
        strong: i === d.prompt - 1,
      })),
      at,
    );
    const opened = g.open.filter(Boolean).length;
    setText(
      gateSaid,
      `Token ${at}, “${visible(g.tokens[at])}”, ${stateAt(g, at, d.prompt)}: reads ` +
        `${short(g.reading[at])}, threshold ` +
        `${short(d.threshold)}. Open at ${opened} of ${g.looked.filter(Boolean).length} tokens looked at; the framed ` +
        "token is the prompt’s last.",
    );
    const room = Math.min(gateBox.clientWidth || 560, 760);
    gateBox.replaceChildren(
      gateChart(PAGE_COLOURS, d, { width: room, height: 210, chosen: at }),
      gateKey(PAGE_COLOURS, h),
    );
    const column = (title, text) =>
      h("div", { class: "mn-answer" }, h("h4", { text: title }), h("p", { text: text ? plainly(text) : "(nothing)" }));
    answersBox.replaceChildren(
      h(
        "div",
        { class: "mn-two" },
        column("Without the edit", d.plain.text),
        column(`With the gated edit${opened ? "" : " (the gate stayed shut)"}`, g.text),
      ),
    );
  };

  const drawTables = () => {
    layersBox.replaceChildren(layerTable(p, get("detail").run === p.run ? get("detail") : {}));
    const layer = layerNow(),
      rowNow = layersBox.querySelectorAll("tbody tr")[layer];
    rowNow?.setAttribute("aria-current", "true");
    const g = p.gate;
    if (!g) {
      ratesBox.replaceChildren(h("p", { class: "mn-note", text: "No gate yet." }));
      return;
    }
    const right = rightTable(p);
    ratesBox.replaceChildren(
      h("p", {
        class: "mn-note",
        "data-testid": "rates-said",
        text:
          `The gate for “${plainly(p.target)}” at ${g.site}, ${p.kind}: threshold ${short(g.threshold)} ` +
          `and Youden’s index ` +
          `${short(g.youden)} on the tune items, which chose it. The push to “${plainly(p.toward)}”, strength ` +
          `${short(p.strength)}: cosine ${short(g.reliability)} between halves of the train items. ` +
          `Below: report items and ` +
          "texts that had no part in either, with exact 95 % intervals.",
      }),
      rateTable(p),
      ...(right ? [h("h4", { class: "mn-gap", text: "Right answers" }), right] : []),
    );
  };

  const draw = () => {
    if (!root.isConnected) return;
    for (const part of [body, drawer.element]) part.hidden = !p;
    empty.hidden = !!p || !!get("error").text || get("status") === "running";
    busy.hidden = !!p || get("status") !== "running";
    if (!p) return;
    drawPlane();
    drawTables();
    drawPrompt();
  };

  const body = h(
    "div",
    {},
    h(
      "div",
      { class: "mn-body" },
      h(
        "section",
        { class: "mn-main", "aria-label": "Trajectories" },
        h("h3", { text: "Over the layers" }),
        planeBox,
        caption,
      ),
      h(
        "section",
        { class: "mn-side", "aria-label": "One prompt", "data-testid": "side" },
        h("h3", { text: "One prompt" }),
        h("div", { class: "mn-pick" }, field("Report item", item), field("or a prompt of your own", prompt)),
        answersBox,
        strip.element,
        gateSaid,
        gateBox,
      ),
    ),
    section({ label: "Gate", title: "How often the gate opens, and what it is worth" }, ratesBox),
    section({ label: "Layers", title: "Layer by layer" }, layersBox),
  );
  const drawer = exportDrawer(model, send, {
    stem: () => `trajectories_run${p.run}`,
    figure: () =>
      sideBySide(
        [
          planeChart(PAPER_COLOURS, PAPER_LABELS, p, { layer: layerNow(), way: wayNow(), width: 620, height: 420 }),
          ...(ready() ? [gateChart(PAPER_COLOURS, get("detail"), { width: 520, height: 420 })] : []),
        ].map(drawn),
      ),
    table: () => {
      const I = p.items.length;
      let text = csvLine(["layer", "item", "label", "text", "nearest", "margin", "plane_1", "plane_2"]);
      for (let l = 0; l < p.layers; l++)
        p.items.forEach((of, i) => {
          const k = l * I + i;
          text += csvLine([l, i, of.label, of.text, p.labels[p.nearest[k]], p.margin[k], ...p.placeAt(l, i)]);
        });
      return text;
    },
    example: "trajectories.zarr, trajectories.nc, trajectories.csv",
  });
  const pull = () => {
    p = read(get("picture"));
    token = -1;
    drawItems();
    draw();
  };
  listen(["picture"], pull);
  listen(["layer", "status", "error"], draw);
  listen(["detail"], draw);
  listen(["labels", "target", "toward", "layer", "model_info"], drawControls);
  inputs.prompt.addEventListener("change", () => {
    token = -1;
  });
  drawControls();
  const close = frame.open(el, { parts: [controls, error, empty, busy, body], drawer, box: root, draw });
  pull();
  return close;
}

export default { render };
