// CheckpointView: two models on one prompt; where they differ, and what the state of one does in the other.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { ColourBar } from "../base/colourbar.js";
import { emptyBox, errorBox, field, h, option, setText } from "../base/dom.js";
import { exportDrawer } from "../base/export.js";
import { svgFigure } from "../base/figure.js";
import { HeatMap } from "../base/heatmap.js";
import { tokenBars } from "../base/predictions.js";
import { shell } from "../base/shell.js";
import { largest, number, visible } from "../base/text.js";
import { tiedControls } from "../base/traits.js";
import { AGAINST, chosen, csvOf, gridOf, linesAt, place, readTables } from "./map.js";

/** Whose mean over cells is told. */
const MEANS = {
  nothing: "mean over cells",
  floor: "of two runs of one recipe",
  random: "of a random move as far",
  twin: "of another run’s state",
};

function render({ model, el }) {
  const frame = shell(model, {
    title: "Two checkpoints",
    testid: "checkpoint-view",
    name: "Two checkpoints",
    kind: "mn-panels mn-checkpoints",
    label: "Compare",
    help: "Compare both models on this prompt",
    stop: "Stop; what is computed by then stays",
    unit: "Parts computed",
    start: () => {
      flush();
      send("run", { fields: shown() });
    },
  });
  const { send, listen, set, root, row, error } = frame,
    get = (name) => model.get(name);
  const { inputs, shown, flush, area, line, choose } = tiedControls(model, listen, set);
  const form = h(
    "div",
    { class: "mn-form" },
    field("Prompt, read by both", area("prompt")),
    h(
      "div",
      { class: "mn-pair" },
      field("Answer", line("answer", "empty: the source’s next token")),
      field("Foil", line("foil", "empty: the other’s")),
    ),
  );
  const controls = h(
    "div",
    { class: "mn-controls" },
    field(
      "States are copied",
      choose("direction", [
        ["b into a", "from B into A"],
        ["a into b", "from A into B"],
      ]),
    ),
    row,
  );
  inputs.direction.addEventListener("change", () => frame.run.click());

  // --- the map
  let map = null,
    figure = null;
  const caption = h("p", { class: "mn-caption", "data-testid": "caption" }),
    notes = h("div", { "data-testid": "notes" }),
    bar = new ColourBar("colour-bar"),
    show = h("select", { "data-testid": "show", "aria-label": "Quantity shown" }),
    against = h("select", { "data-testid": "against", "aria-label": "Set against" });
  show.onchange = () => set({ show: show.value });
  against.onchange = () => set({ against: against.value });
  const grid = new HeatMap({
    label: "Difference of the two models by layer and token. Arrow keys move, Enter copies the state.",
    testid: "map",
    name: (r, c) =>
      map ? [place(map, r, c), ...linesAt(map, r, c).map(([words, text]) => `${words} ${text}`)].join(", ") : "",
    select: (at) => map && set({ cell: { layer: map.rows[at.row], position: map.columns[at.column] } }),
  });
  const empty = emptyBox(
    "Nothing compared yet",
    "Compare runs both models on the prompt, tells how far apart their states are at every layer and token, and puts " +
      "each state of one into the other.",
  );
  const toolbar = h("div", { class: "mn-toolbar" }, show, against, bar.element);
  const main = h("section", { class: "mn-main", "aria-label": "Map" }, toolbar, caption, empty, grid.element, notes);
  const side = h("section", { class: "mn-side", "data-testid": "side", "aria-live": "polite", "aria-label": "Copy" });

  const fill = (select, pairs, value) => {
    if ([...select.options].map((o) => o.value).join() !== pairs.map(([v]) => v).join())
      select.replaceChildren(...pairs.map(([v, words]) => option(v, words)));
    select.value = value;
  };
  const draw = () => {
    if (!root.isConnected) return;
    for (const part of [toolbar, caption, grid.element, notes, drawer.element]) part.hidden = !map;
    empty.hidden = !!map || !!get("error").text || get("status") === "running";
    if (!map) return;
    const [name, kind] = chosen(map, get("show"), get("against")),
      table = map.tables[name],
      values = table.values[kind],
      limit = largest(values) || 1;
    fill(
      show,
      Object.entries(map.tables).map(([key, t]) => [key, t.label]),
      name,
    );
    fill(
      against,
      table.against.map((key) => [key, AGAINST[key]]),
      kind,
    );
    against.hidden = table.against.length < 2;
    const cells = gridOf(map, values, limit);
    grid.update(cells, main.clientWidth || 600);
    const cell = get("cell"),
      at = { row: map.rows.indexOf(cell.layer), column: map.columns.indexOf(cell.position) };
    grid.selected = at.row >= 0 && at.column >= 0 ? at : null;
    grid.drawOverlay();
    grid.announce();
    const words = kind === "nothing" ? table.unit : `${table.unit}; ${AGAINST[kind]}`;
    bar.update({ ramp: grid.theme.diverging, low: number(-limit), middle: "0", high: number(limit), title: words });
    const means = Object.entries(table.means)
      .map(([key, value]) => `${MEANS[key]} ${number(value)}`)
      .join(", ");
    const copied =
      name === "effect"
        ? ` From ${map.source} into ${map.into}: log-odds of ${visible(map.answer)} over ${visible(map.foil)}, ` +
          `${number(map.into_value)} as it is, ${number(map.source_value)} in the other.`
        : "";
    setText(caption, `${means}.${copied} One prompt: numbers of this text, without an interval.`);
    notes.replaceChildren(...map.notes.map((text) => h("p", { class: "mn-warning", text })));
    figure = () =>
      svgFigure(cells, {
        title: `${map.source} and ${map.into}: ${table.label}`,
        subtitle: words,
        bar: table.label,
        limit,
      });
  };

  // --- the copied state
  const drawSide = () => {
    const d = get("detail"),
      title = h("h3", { text: "The copied state" });
    side.setAttribute("data-status", d.status ?? "none");
    if (d.layer === undefined || !map) {
      const text =
        "Click a cell, or move with the arrow keys and press Enter: the state of one model at that layer and token " +
        "is put into the other, and what it says next is read.";
      side.replaceChildren(title, h("p", { class: "mn-note", text }));
      return;
    }
    const r = map.rows.indexOf(d.layer),
      c = map.columns.indexOf(d.position),
      facts = h("dl", { class: "mn-facts", "data-testid": "facts" });
    for (const [words, text] of r >= 0 && c >= 0 ? linesAt(map, r, c) : [])
      facts.append(h("dt", { text: words }), h("dd", { text }));
    const marks = new Map([
      [map.foil, ["F", "foil", "mn-foil"]],
      [map.answer, ["A", "answer"]],
    ]);
    const [into, source] = map.direction === "b into a" ? ["A", "B"] : ["B", "A"],
      bars = (key, words) => tokenBars(words, d[key], marks);
    side.replaceChildren(
      title,
      h("p", { class: "mn-note", text: `layer ${d.layer}, position ${d.position}, token ${visible(d.token)}` }),
      facts,
      ...(d.status === "ready"
        ? [
            h("h4", { text: "Next token" }),
            h(
              "div",
              { class: "mn-columns" },
              bars("into", `${into} as it is`),
              bars("edited", `${into} with ${source}’s state`),
              bars("source", `${source} as it is`),
            ),
          ]
        : d.status === "error"
          ? [errorBox("The state could not be copied", d.text, "copy-error")]
          : [
              h("p", {
                class: "mn-note",
                text: d.status === "waiting" ? "Copies are not computed yet; press Compare." : "Copying …",
              }),
            ]),
    );
  };

  const drawer = exportDrawer(model, send, {
    stem: () => `checkpoints_run${map.run}`,
    figure: () => figure(),
    table: () => csvOf(map),
    example: "compared.zarr, compared.nc, compared.csv",
  });
  const pull = () => {
    map = readTables(get("map"));
    draw();
    drawSide();
  };
  listen(["map"], pull);
  listen(["show", "against", "cell", "status", "error"], draw);
  listen(["detail"], drawSide);
  const close = frame.open(el, {
    parts: [form, controls, error, h("div", { class: "mn-body" }, main, side)],
    drawer,
    box: main,
    draw,
  });
  pull();
  return close;
}

export default { render };
