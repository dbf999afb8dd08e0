// DiffusionBench: pictures by state and caption, the edit, the attack, the layer-by-step map.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { download, emptyBox, field, h, section, setText } from "../base/dom.js";
import { button, documents, exportDrawer } from "../base/export.js";
import { refusedBox } from "../base/refused.js";
import { shell } from "../base/shell.js";
import { plainly, shorten } from "../base/text.js";
import { tiedControls } from "../base/traits.js";
import { editPanel } from "./edit.js";
import { pictureFigure } from "./figure.js";
import { pictureGrid } from "./grid.js";
import { mapPanel } from "./map.js";
import { measureParts, measuresCsv } from "./measures.js";
import { alike, DRAWN, EDIT } from "./pictures.js";
import { stepPanel } from "./steps.js";

function render({ model, el }) {
  const frame = shell(model, {
    title: "Diffusion bench",
    testid: "diffusion-bench",
    name: "Diffusion bench",
    kind: "mn-memory mn-diffusion",
    label: "Locate and draw",
    help: "Draw the captions, find the weights, draw again; what is there is not made again",
    stop: "Stop before the next denoising step; what is whole stays, and the weights are restored",
    unit: "Steps of this stage",
    start: () => {
      flush();
      send("run", { fields: fieldsNow() });
    },
  });
  const { send, listen, root, row, error } = frame;
  const info = model.get("model_info"),
    names = model.get("names"),
    letter = info.measure === "normalised distance" ? "d" : "r";
  const push = (values) => {
    for (const [k, v] of Object.entries(values)) model.set(k, v);
    send("move", { fields: values });
    drawGrid();
  };
  const { bound, shown, flush, choose } = tiedControls(model, listen, push);
  const fieldsNow = () => ({
    ...shown(),
    chosen: model.get("chosen"),
    sparsity: model.get("sparsity"),
    step: model.get("step"),
  });
  const busy = () => ["running", "stopping"].includes(model.get("status"));
  const sharp = info.side <= 64,
    side = sharp ? Math.max(64, info.side) : 112;

  // --- the question
  const placeOf = (name) => info.places[name] ?? Object.values(info.places)[0],
    placeNow = () => placeOf(model.get("place"));
  const place = choose("place", model.get("places"));
  place.title = "The layers of the U-Net that are watched and cut; statistics are run once for each choice";
  const sets = (what) =>
    choose(
      what,
      names[what].map(([name, text]) => [name, shorten(plainly(text), 60)]),
    );
  const refused = refusedBox(model, error, {
    title: "These sets overlap: nothing is run with them",
    names: ["memorised", "reference"],
  });
  const form = h(
    "div",
    {},
    h(
      "div",
      { class: "mn-controls" },
      field("Memorised captions", sets("memorised")),
      field("Reference captions", sets("reference")),
      field("Layers to cut", place),
      field("Method", choose("method", model.get("methods"))),
    ),
    h("div", { class: "mn-controls" }, row),
    refused.element,
    error,
  );
  const current = (key) => !!key && EDIT.every((name) => alike(key[name], model.get(name)));
  const asked = { busy, current, placeOf, placeNow, fields: fieldsNow };
  const edit = editPanel({ model, send, push, bound, steps: info.steps, asked });

  // --- pictures
  const empty = emptyBox(
    "No pictures yet",
    "“Locate and draw” draws the captions below with the model’s own weights, finds the weights that " +
      "tell them from the reference, sets those to 0, and draws again, beside as many random weights. " +
      "You watch each denoising step. The weights are restored after every drawing.",
  );
  const limitText = h("p", { class: "mn-note", "data-testid": "limit" }),
    about = h("p", {
      class: "mn-note",
      text: info.measure ? `${letter}: ${info.about}.` : "No training pictures were given: no copy measure.",
    });
  const grid = pictureGrid({ model, info, asked, push, side, sharp, letter }),
    steps = stepPanel({
      model,
      send,
      choose,
      redraw: () => drawGrid(),
      whole: () => DRAWN.every((name) => grid.states()[name]?.ready !== false),
    });
  frame.undo.push(steps.stop);
  const numbers = h("div", { "data-testid": "numbers" });
  const attackButton = button("attack", "Attack this edit", () => {
    flush();
    send("attack", { fields: fieldsNow() });
  });
  const attackText = h("p", {
    class: "mn-note",
    text:
      "An attack looks for a text embedding that makes the edited model denoise towards the training " +
      "picture. With enough updates that draws any picture: read it beside the never-trained pictures " +
      "attacked with the same budget. Moving a slider stops it.",
  });
  const attackBox = section(
    { label: "Attack on the edit", title: "Attack on the edit" },
    attackText,
    h(
      "div",
      { class: "mn-controls" },
      field("Updates", bound("updates", h("input", { type: "number", min: 1, max: 10000, step: 10 }))),
      field("starting from", choose("start", model.get("starts"))),
      attackButton,
    ),
  );
  const help = h("p", {
    class: "mn-note",
    "data-testid": "help",
    text:
      "The mask is located on the captions that are ticked; the others show what it does to pictures it " +
      "was not made from. Keys: arrows, Home and End move through the pictures and the map and read them " +
      "out; Space ticks a caption on or off; Ctrl+Enter draws.",
  });
  const pictures = section(
    { label: "Pictures", title: "Pictures" },
    empty,
    limitText,
    about,
    steps.element,
    grid.element,
    grid.readout,
    help,
    numbers,
  );
  const map = mapPanel({ model, root, asked });
  const shows = (name) => {
    const s = grid.mine(name);
    return !!s?.ready && (name === "before" || current(s.key));
  };
  const drawGrid = () => {
    if (!grid.captions().length) return;
    const before = grid.mine("before");
    steps.draw();
    empty.hidden = !!before;
    for (const box of [steps.element, limitText, about, attackBox, help, grid.readout]) box.hidden = !before;
    numbers.hidden = !before?.ready;
    root.setAttribute("data-pictures", before?.ready ? "true" : "false");
    grid.draw();
    setText(limitText, model.get("limit").text ?? "");
    const { after } = grid.states();
    attackButton.disabled = busy() || !after?.ready || !current(after.key) || !grid.pictured();
    numbers.replaceChildren(...measureParts(grid.states(), shows, { info, letter }));
    edit.draw();
    edit.drawForce();
  };
  const drawStates = () => {
    grid.read();
    drawGrid();
  };

  // --- export
  const stem = () =>
    (
      `diffusion_${model.get("memorised")}_${model.get("place")}_${model.get("method")}_` +
      `${model.get("sparsity")}_${model.get("first")}`
    ).replace(/[^\w.-]+/g, "_");
  const drawer = exportDrawer(model, (type, content) => send(type, { ...content, fields: fieldsNow() }), {
    stem,
    figure: () =>
      pictureFigure(grid.captions(), grid.rows(), {
        box: sharp ? 80 : side,
        letters: info.measure ? 34 : 10,
        sharp,
      }),
    table: () =>
      measuresCsv(grid.states(), shows, { info, captions: grid.captions(), chosen: new Set(model.get("chosen")) }),
    example: "measures.zarr, measures.csv, mask.npz",
    labels: {
      csv: "Measures (CSV)",
      svg: "Picture grid (SVG)",
      png: "Picture grid (PNG)",
      save: "Save on the kernel’s machine: the measures (.zarr, .nc, .csv, .parquet) or the mask shown (.npz)",
    },
    after: [
      button("map-csv", "Map (CSV)", () => {
        if (map.there()) download(`${stem()}_map.csv`, "text/csv", map.csv());
      }),
      button("npz", "Mask shown (npz)", () => send("document", { kind: "npz", fields: fieldsNow() })),
    ],
  });
  documents(model, listen, stem);

  const drawRest = () => {
    setText(frame.line, placeNow().text);
    edit.element.hidden = !model.get("edit").weights && !grid.states().before;
    drawer.files.hidden = !grid.states().before;
    refused.draw();
    map.draw();
  };
  const all = () => {
    drawGrid();
    drawRest();
  };
  listen(["prompts"], () => {
    grid.build();
    drawStates();
  });
  listen(DRAWN, () => {
    drawStates();
    drawRest();
  });
  listen([...EDIT, "step", "seed", "limit", "edit"], () => {
    drawGrid();
    drawRest();
  });
  listen(["scores"], map.draw);
  listen(["doubts"], refused.draw);
  listen(["force"], edit.drawForce);
  listen(["status", "progress", "error"], () => {
    refused.draw();
    drawGrid();
  });
  const close = frame.open(el, {
    parts: [form, edit.element, pictures, attackBox, map.element],
    drawer,
    box: pictures,
    draw: all,
  });
  grid.build();
  grid.read();
  all();
  return close;
}

export default { render };
