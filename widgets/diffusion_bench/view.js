// DiffusionBench: pictures by state and caption, the edit, the attack, the layer-by-step map.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { dataTable, drawn, PAPER_COLOURS, svg } from "../base/charts.js";
import { themeOf } from "../base/colour.js";
import { ColourBar } from "../base/colourbar.js";
import { download, field, h, setText } from "../base/dom.js";
import { exportDrawer } from "../base/export.js";
import { HeatMap } from "../base/heatmap.js";
import { shell } from "../base/shell.js";
import { absent, between, csvLine, many, plainly, share, short, shorten } from "../base/text.js";
import { floats, octets, tiedControls } from "../base/traits.js";
import { alike, filesOf, readState, wrapped } from "./pictures.js";

const ROWS = [
  ["training", "Training picture", "training picture"],
  ["before", "Before", "drawn by the unedited model"],
  ["after", "After the edit", "drawn by the edited model"],
  ["random", "Random control", "drawn with as many random weights set to 0"],
  ["attacked", "After the attack", "drawn by the edited model from an optimised embedding"],
];

const DRAWN = ["before", "after", "random", "attacked"];

const EDIT = ["memorised", "reference", "place", "method", "chosen", "sparsity", "first"];

const SVG_FONT = "system-ui, DejaVu Sans, Arial, sans-serif";

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
    frames = info.frames.length,
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
  const refused = h("div", { class: "mn-error", role: "alert", "data-testid": "refused", hidden: true });
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
    refused,
    error,
  );
  const drawForm = () => {
    const d = model.get("doubts"),
      now = d.refused && d.memorised === model.get("memorised") && d.reference === model.get("reference");
    refused.hidden = !now;
    refused.replaceChildren(
      ...(now
        ? [h("strong", { text: "These sets overlap: nothing is run with them" }), h("pre", { text: d.refused })]
        : []),
    );
    if (now && model.get("error").text === d.refused) error.hidden = true;
  };

  // --- the edit
  const stops = model.get("sparsities"),
    nearest = (v) =>
      stops.reduce((best, s, i) => (Math.abs(Math.log(s / v)) < Math.abs(Math.log(stops[best] / v)) ? i : best), 0);
  const sparsity = h("input", {
      type: "range",
      min: 0,
      max: stops.length - 1,
      step: 1,
      "data-testid": "sparsity",
      "aria-label": "Sparsity: share of each row’s weights set to 0 at one step",
    }),
    sparsityNow = h("output", { "data-testid": "sparsity-now" });
  const first = bound(
      "first",
      h("input", {
        type: "range",
        min: 1,
        max: info.steps,
        step: 1,
        "aria-label": "Denoising steps whose masks are united",
      }),
    ),
    firstNow = h("output", { "data-testid": "first-now" });
  sparsity.oninput = () => push({ sparsity: stops[Number(sparsity.value)] });
  const slide = (title, out, input) =>
    h("div", { class: "mn-field mn-slide" }, h("span", {}, h("span", { class: "mn-label", text: title }), out), input);
  const editText = h("p", { class: "mn-note", "data-testid": "edit", role: "status" });
  const forceText = h("p", { "data-testid": "force", role: "status" }),
    putButton = h("button", {
      type: "button",
      class: "mn-button",
      "data-testid": "put",
      text: "Put this edit in force",
      onclick: () => send("put", { fields: fieldsNow() }),
    }),
    undoButton = h("button", {
      type: "button",
      class: "mn-button",
      "data-testid": "undo",
      onclick: () => send("undo"),
    });
  const weights = h("div", { class: "mn-weights", "data-testid": "weights" }, putButton, undoButton, forceText);
  const editBox = h(
    "section",
    { class: "mn-section", "aria-label": "The edit" },
    h("div", { class: "mn-side-head" }, h("h3", { text: "The edit" })),
    h(
      "div",
      { class: "mn-moves" },
      slide("Sparsity: share of each row’s weights, at one step ", sparsityNow, sparsity),
      slide("First denoising steps, masks united ", firstNow, first),
    ),
    editText,
    weights,
  );
  const hash = (v) => (v ? v.slice(0, 12) : "…");
  const current = (key) => !!key && EDIT.every((name) => alike(key[name], model.get(name)));
  const drawEdit = () => {
    const e = model.get("edit"),
      s = model.get("sparsity"),
      n = model.get("first");
    sparsity.value = nearest(s);
    setText(sparsityNow, short(s));
    sparsity.setAttribute("aria-valuetext", short(s));
    const same = placeNow().alike;
    setText(firstNow, same ? "makes no difference here" : `${n} of ${info.steps}`);
    first.setAttribute("aria-valuetext", same ? firstNow.textContent : `${n} of ${info.steps} steps`);
    first.disabled = same;
    first.title = same ? "Keys and values read the caption’s words, the same at every step: so are the masks" : "";
    setText(
      editText,
      !e.weights
        ? ""
        : current(e.key)
          ? `The mask sets ${e.weights.toLocaleString("en")} weights to 0, ${share(e.density)} of those in ` +
            `the ${placeOf(e.key.place).layers}.`
          : `The pictures with an edit are still of ${e.text}.` +
            (!busy() && e.key.place !== model.get("place")
              ? ` “Locate and draw” makes those of the ${placeNow().layers}.`
              : ""),
    );
  };
  const drawForce = () => {
    const f = model.get("force"),
      there = !!model.get("edit").weights;
    weights.hidden = !there && f.state === "none";
    weights.setAttribute("data-state", f.state);
    putButton.disabled = busy() || !!f.doing || !there || !current(model.get("edit").key);
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
        ? `The model is edited now: ${f.what}. Weight hash ${hash(f.before)} → ${hash(f.now)}; whatever ` +
          `the notebook asks this pipeline is answered by the edited one.`
        : f.state === "undone"
          ? `The model is not edited: ${f.what} was undone; weight hash ${hash(f.now)}, ` +
            `${f.same ? `unchanged from ${hash(f.before)} before the edit` : `NOT the ${hash(f.before)} from before`}` +
            `.`
          : f.state === "error"
            ? ""
            : busy()
              ? "While pictures are drawn, the weights are edited and restored."
              : "The model is not edited: the pictures below were drawn with the edit and the weights " +
                "restored. Here it can be left in force, to try in the notebook.";
    forceText.replaceChildren(
      f.doing ?? said,
      ...(f.text ? [h("strong", { class: "mn-bad", text: ` ${f.text}` })] : []),
    );
  };

  // --- pictures
  const empty = h(
    "div",
    { class: "mn-empty", "data-testid": "empty" },
    h("strong", { text: "No pictures yet" }),
    h("p", {
      text:
        "“Locate and draw” draws the captions below with the model’s own weights, finds the weights that " +
        "tell them from the reference, sets those to 0, and draws again, beside as many random weights. " +
        "You watch each denoising step. The weights are restored after every drawing.",
    }),
  );
  const limitText = h("p", { class: "mn-note", "data-testid": "limit" }),
    about = h("p", {
      class: "mn-note",
      text: info.measure ? `${letter}: ${info.about}.` : "No training pictures were given: no copy measure.",
    });
  const scrub = h("input", {
      type: "range",
      min: 0,
      max: frames - 1,
      step: 1,
      "data-testid": "step",
      "aria-label": "Denoising step shown",
    }),
    scrubNow = h("output", { "data-testid": "step-now" });
  const move = (to) => {
    const step = Math.max(0, Math.min(frames - 1, to));
    model.set("step", step);
    send("move", { fields: { step } });
    drawGrid();
  };
  scrub.oninput = () => move(Number(scrub.value));
  let timer = 0;
  const still = () => {
    clearInterval(timer);
    timer = 0;
    setText(play, "Play");
  };
  const play = h("button", {
    type: "button",
    class: "mn-button",
    "data-testid": "play",
    text: "Play",
    title: "Go through the denoising steps",
    onclick: () => {
      if (timer) {
        still();
        return;
      }
      let at = 0;
      setText(play, "Pause");
      model.set("step", 0);
      drawGrid();
      timer = setInterval(
        () => {
          at += 1;
          model.set("step", Math.min(at, frames - 1));
          drawGrid();
          if (at >= frames - 1) still();
        },
        Math.max(90, 3000 / frames),
      );
    },
  });
  frame.undo.push(still);
  const seed =
    info.seeds.length > 1
      ? choose(
          "seed",
          info.seeds.map((s, i) => [i, `seed ${s}`]),
        )
      : null;
  const moves = h(
    "div",
    { class: "mn-moves" },
    slide("Denoising step shown ", scrubNow, scrub),
    play,
    seed ? field("Starting noise", seed) : null,
  );
  const head = h("tr", { role: "row" }),
    body = h("tbody", { role: "rowgroup" }),
    grid = h(
      "table",
      {
        class: "mn-pictures",
        role: "grid",
        "data-testid": "grid",
        "aria-label": "Pictures: a row a state of the model, a column a caption",
      },
      h("thead", { role: "rowgroup" }, head),
      body,
    );
  const readout = h("p", { class: "mn-note mn-readout", "data-testid": "readout", role: "status" }),
    numbers = h("div", { "data-testid": "numbers" });
  const attackButton = h("button", {
    type: "button",
    class: "mn-button",
    "data-testid": "attack",
    text: "Attack this edit",
    onclick: () => {
      flush();
      send("attack", { fields: fieldsNow() });
    },
  });
  const attackText = h("p", {
    class: "mn-note",
    text:
      "An attack looks for a text embedding that makes the edited model denoise towards the training " +
      "picture. With enough updates that draws any picture: read it beside the never-trained pictures " +
      "attacked with the same budget. Moving a slider stops it.",
  });
  const attackBox = h(
    "section",
    { class: "mn-section", "aria-label": "Attack on the edit" },
    h("div", { class: "mn-side-head" }, h("h3", { text: "Attack on the edit" })),
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
  const pictures = h(
    "section",
    { class: "mn-section", "aria-label": "Pictures" },
    h("div", { class: "mn-side-head" }, h("h3", { text: "Pictures" })),
    empty,
    limitText,
    about,
    moves,
    h("div", { class: "mn-gridbox" }, grid),
    readout,
    help,
    numbers,
  );

  let cells = [],
    ticks_ = [],
    captions = [],
    trained = () => "",
    states = {},
    focus = [0, 0];
  const seedNow = () => Math.min(model.get("seed"), info.seeds.length - 1);
  const valueText = (value) =>
      absent(value) ? "" : `${letter} = ${value.toFixed(2).replace("-0.00", "0.00").replace("-", "−")}`,
    verdict = (copy) => (copy === true ? "copy" : copy === false ? "no copy" : "");
  /** What is shown in a cell: file, value, copy, and the words for it. */
  const cellOf = (r, c) => {
    const [name, , words] = ROWS[r],
      caption = captions[c];
    if (name === "training") return { file: trained(c), said: "", alt: `${plainly(caption)}: ${words}` };
    const s = states[name];
    if (!s || s.memorised !== model.get("memorised"))
      return { file: "", said: "", alt: `${plainly(caption)}: not ${words} yet` };
    const f = s.ready
        ? Math.min(model.get("step"), frames - 1)
        : Math.max(0, Math.min(model.get("step"), s.frames - 1)),
      value = s.value(f, c, seedNow()),
      copy = s.copy(f, c, seedNow()),
      said = valueText(value),
      whole = f === frames - 1;
    return {
      file: s.file(f, c, seedNow()),
      value,
      copy,
      said,
      alt:
        `${plainly(caption)}: ${words}${whole ? "" : `, after step ${info.frames[f]} of ${info.steps}`}` +
        `${name !== "before" && s.key && !current(s.key) ? `, of an earlier edit` : ""}` +
        `${said ? `, ${said}` : ""}${verdict(copy) ? `, ${verdict(copy)}` : ""}`,
    };
  };
  const readCell = () => setText(readout, captions.length ? `${cellOf(...focus).alt}.` : "");
  const build = () => {
    const p = model.get("prompts");
    captions = p.captions ?? [];
    trained = filesOf(p);
    focus = [0, 0];
    ticks_ = captions.map((caption, c) =>
      h("input", {
        type: "checkbox",
        "aria-label": `The mask is located on: ${plainly(caption)}`,
        "data-testid": `tick-${c}`,
        onchange: () => toggle(c),
      }),
    );
    head.replaceChildren(
      h("th", { scope: "col", text: "Caption" }),
      ...captions.map((caption, c) =>
        h(
          "th",
          { scope: "col", title: plainly(caption), style: `min-width:${side + 8}px` },
          h("span", { text: shorten(plainly(caption), 70) }),
          h("br"),
          h("label", { class: "mn-tick" }, ticks_[c], "located on"),
        ),
      ),
    );
    cells = ROWS.map(([name, title], r) => {
      const notes = h("span", { class: "mn-row-note" }),
        row = h(
          "tr",
          { role: "row", "data-state": name },
          h("th", { scope: "row" }, h("span", { text: title }), notes),
        );
      const line = captions.map((_, c) => {
        // the picture's words say all of it
        const said = h("span", { class: "mn-said", "aria-hidden": "true" }),
          judged = h("span", { class: "mn-said", "aria-hidden": "true" }),
          picture = h("img", {
            class: "mn-pic",
            style: `min-width:${side}px`,
            "data-sharp": sharp,
            draggable: "false",
          }),
          td = h(
            "td",
            { role: "gridcell", tabindex: r || c ? "-1" : "0", "data-testid": `cell-${name}-${c}` },
            picture,
            said,
            judged,
          );
        td.onfocus = () => {
          go(r, c, false);
        };
        return { td, picture, said, judged };
      });
      row.append(...line.map((x) => x.td));
      body.append(row);
      return { row, notes, line };
    });
    body.replaceChildren(...cells.map((x) => x.row));
    drawStates();
  };
  const go = (r, c, take = true) => {
    if (!cells[r]?.line[c]) return;
    cells[focus[0]]?.line[focus[1]]?.td.setAttribute("tabindex", "-1");
    focus = [r, c];
    const { td } = cells[r].line[c];
    td.setAttribute("tabindex", "0");
    if (take) td.focus();
    readCell();
  };
  const toggle = (c) => {
    const now = new Set(model.get("chosen"));
    if (now.has(c)) now.delete(c);
    else now.add(c);
    push({ chosen: [...now].sort((a, b) => a - b) });
  };
  body.onkeydown = (e) => {
    if (!e.target.matches("td") || e.ctrlKey || e.altKey || e.metaKey) return;
    const rows = cells.map((_x, i) => i).filter((i) => !cells[i].row.hidden),
      at = rows.indexOf(focus[0]),
      to = {
        ArrowUp: [at - 1, focus[1]],
        ArrowDown: [at + 1, focus[1]],
        ArrowLeft: [at, focus[1] - 1],
        ArrowRight: [at, focus[1] + 1],
        Home: [at, 0],
        End: [at, captions.length - 1],
      }[e.key];
    if (e.key === " ") toggle(focus[1]);
    else if (!to) return;
    e.preventDefault();
    e.stopPropagation();
    if (to && to[0] >= 0 && to[0] < rows.length && to[1] >= 0 && to[1] < captions.length) go(rows[to[0]], to[1]);
  };
  const drawStates = () => {
    states = Object.fromEntries(
      DRAWN.map((name) => [name, readState(model.get(name), captions.length, info.seeds.length, frames)]),
    );
    drawGrid();
  };
  const drawGrid = () => {
    if (!cells.length) return;
    const step = Math.min(model.get("step"), frames - 1),
      set = model.get("memorised"),
      chosen = new Set(model.get("chosen")),
      before = states.before?.memorised === set ? states.before : null,
      a = states.attacked?.memorised === set ? states.attacked : null;
    scrub.value = step;
    setText(
      scrubNow,
      step < frames - 1
        ? `${info.frames[step]} of ${info.steps}`
        : DRAWN.some((n) => states[n] && !states[n].ready)
          ? "the latest there is"
          : `${info.frames[step]} of ${info.steps}, the finished picture`,
    );
    scrub.setAttribute("aria-valuetext", scrubNow.textContent);
    empty.hidden = !!before;
    for (const box of [moves, limitText, about, attackBox, help, readout]) box.hidden = !before;
    numbers.hidden = !before?.ready;
    root.setAttribute("data-pictures", before?.ready ? "true" : "false");
    ticks_.forEach((t, c) => {
      t.checked = chosen.has(c);
    });
    cells.forEach(({ row, notes, line }, r) => {
      const [name] = ROWS[r],
        s = states[name],
        mine = s?.memorised === set,
        old = mine && name !== "before" && !current(s.key);
      row.hidden =
        name === "training"
          ? !(model.get("prompts").sizes ?? []).some((n) => n)
          : name === "attacked"
            ? !a || old
            : !before && name !== "before"
              ? true
              : !before && !mine;
      row.setAttribute("data-old", String(old));
      setText(
        notes,
        name === "training"
          ? ""
          : !mine
            ? ""
            : !s.ready
              ? `step ${info.frames[Math.max(0, s.frames - 1)]} of ${info.steps} …`
              : old
                ? "of an earlier edit"
                : name === "after"
                  ? `${model.get("place")}, ${model.get("method")}, ${short(model.get("sparsity"))}` +
                    `${placeNow().alike ? "" : `, ${many(model.get("first"), "step")}`}`
                  : name === "random"
                    ? "as many weights of each row"
                    : name === "attacked"
                      ? `${s.attack[0]} updates`
                      : "the model’s own weights",
      );
      line.forEach(({ td, picture, said, judged }, c) => {
        const cell = cellOf(r, c);
        picture.classList.toggle("mn-none", !cell.file);
        if (cell.file) {
          if (picture.getAttribute("src") !== cell.file) picture.src = cell.file;
        } else picture.removeAttribute("src");
        picture.alt = cell.alt;
        setText(said, cell.said);
        setText(judged, verdict(cell.copy));
        td.setAttribute("data-copy", cell.copy === true);
      });
    });
    if (cells[focus[0]].row.hidden) focus = [0, focus[1]];
    setText(limitText, model.get("limit").text ?? "");
    attackButton.disabled =
      busy() ||
      !states.after?.ready ||
      !current(states.after.key) ||
      !(model.get("prompts").sizes ?? []).some((n) => n);
    readCell();
    drawNumbers();
    drawEdit();
    drawForce();
  };
  const groupsNow = () =>
    ROWS.slice(1).flatMap(([name, title]) => {
      const s = states[name];
      if (!s?.ready || s.memorised !== model.get("memorised") || (name !== "before" && !current(s.key))) return [];
      return [
        ...s.groups.map((g) => [title, s.groups.length > 1 ? g.name : "", g]),
        ...(s.never ? [[title, s.never.name, s.never]] : []),
      ];
    });
  const drawNumbers = () => {
    const rows = groupsNow();
    if (!info.measure || !rows.length) {
      numbers.replaceChildren();
      return;
    }
    numbers.replaceChildren(
      dataTable(
        "table",
        ["", "pictures that are copies", `mean ${letter}`],
        rows.map(([title, part, g]) => [
          part ? `${title}, ${part}` : title,
          g.copies === undefined ? "–" : [`${g.copies} of ${g.pictures}`, between(g.low, g.high, share)],
          short(g.mean),
        ]),
      ),
      h("p", {
        class: "mn-note",
        text:
          `${short(100 * info.level)} % intervals over captions (Clopper–Pearson, or bootstrap where a ` +
          `caption has several seeds that disagree). ` +
          `${info.seeds.length > 1 ? "All seeds together." : `One seed of starting noise, ${info.seeds[0]}.`}` +
          ` Control: one draw.`,
      }),
    );
  };

  // --- the map
  let scores = null;
  const mapTitle = h("p", { class: "mn-note" }),
    mapRead = h("p", { class: "mn-note mn-readout", "data-testid": "map-read", role: "status" }),
    bar = new ColourBar("map-bar");
  const factsOf = (r, c) => {
    const i = r * scores.steps + c,
      takes = current(model.get("edit").key) ? model.get("edit").layers?.[r] : null;
    return [
      ["layer", scores.short[r]],
      ["step", `${c + 1} of ${scores.steps}${c < model.get("first") ? ", united" : ""}`],
      [`${placeOf(scores.place).unit} beyond z = 3`, share(scores.share[i])],
      ["largest |z|", short(scores.largest[i])],
      ...(absent(takes) ? [] : [["the edit takes", `${share(takes)} of the layer`]]),
    ];
  };
  const map = new HeatMap({
    label: "Layer-by-step map: how far layers tell the two sets apart; arrow keys read its cells",
    testid: "map",
    name: (r, c) =>
      factsOf(r, c)
        .map((f) => f.join(" "))
        .join(", "),
    hover: (at) => {
      if (at)
        setText(
          mapRead,
          `${scores.layers[at.row]}: ${factsOf(at.row, at.column)
            .slice(1)
            .map((f) => f.join(" "))
            .join(", ")}.`,
        );
    },
  });
  const mapBox = h(
    "section",
    { class: "mn-section", "aria-label": "Layer-by-step map", "data-testid": "scores" },
    h("div", { class: "mn-side-head" }, h("h3", { text: "Where and when the two sets differ" }), bar.element),
    mapTitle,
    map.element,
    mapRead,
  );
  const drawMap = () => {
    const raw = model.get("scores");
    mapBox.hidden = !raw.layers || raw.memorised !== model.get("memorised");
    if (mapBox.hidden) {
      scores = null;
      return;
    }
    scores = { ...raw, share: floats(raw.share), largest: floats(raw.largest) };
    if (!root.isConnected) return;
    const at = placeOf(raw.place),
      top = Math.max(0, ...scores.share) || 0.01,
      old =
        raw.reference !== model.get("reference") ||
        raw.place !== model.get("place") ||
        !alike(raw.chosen, model.get("chosen"));
    setText(
      mapTitle,
      `${raw.sets[0]} memorised against ${raw.sets[1]} reference captions in the ${at.layers}` +
        `${old ? " (of an earlier choice)" : ""}: share of a layer’s ${at.unit} whose mean energy differs ` +
        `by more than 3 standard errors; about 0.3 % by chance, more with few captions. Layers by block ` +
        `and attention` +
        (at.alike
          ? ", k: keys, v: values. All of them read the caption’s words, which no layer and no step changes: " +
            `there is one value instead of a map, ${share(scores.share[0])}.`
          : ", in the order in which they run; steps in bold are united in the mask."),
    );
    bar.element.hidden = map.element.hidden = mapRead.hidden = at.alike; // one value is a sentence
    if (at.alike) return;
    bar.update({
      ramp: themeOf(root).single,
      low: "0 %",
      middle: share(top / 2),
      high: share(top),
      title: `${at.unit} beyond z = 3`,
    });
    const room = Math.max(240, (mapBox.clientWidth || 900) - 20);
    map.update(
      {
        rows: scores.layers.length,
        columns: scores.steps,
        rowLabels: scores.short,
        columnLabels: Array.from({ length: scores.steps }, (_, i) => ({
          text: String(i + 1),
          strong: i < model.get("first"),
        })),
        rowTitle: "layer",
        columnTitle: "denoising step",
        cellHeight: 22,
        cellWidth: Math.max(12, Math.min(120, Math.floor((room - 120) / scores.steps))),
        colour: (r, c, theme) => theme.single(scores.share[r * scores.steps + c] / top),
        tip: factsOf,
      },
      room,
    );
  };

  // --- export
  const stem = () =>
    (
      `diffusion_${model.get("memorised")}_${model.get("place")}_${model.get("method")}_` +
      `${model.get("sparsity")}_${model.get("first")}`
    ).replace(/[^\w.-]+/g, "_");
  const visibleRows = () => ROWS.map((row, r) => [row, r]).filter(([, r]) => cells[r] && !cells[r].row.hidden);
  const csv = () => {
    const lines = [["caption", "located_on", "state", "seed", "step", "measure", "value", "copy"]],
      set = model.get("memorised"),
      chosen = new Set(model.get("chosen"));
    for (const name of DRAWN) {
      const s = states[name];
      if (!s?.ready || s.memorised !== set || (name !== "before" && !current(s.key))) continue;
      for (let c = 0; c < captions.length; c++)
        for (let k = 0; k < info.seeds.length; k++)
          for (let f = 0; f < frames; f++) {
            const v = s.value(f, c, k),
              copy = s.copy(f, c, k);
            if (f === frames - 1 || !absent(v))
              lines.push([
                captions[c],
                String(chosen.has(c)),
                name,
                info.seeds[k],
                info.frames[f],
                info.measure,
                v ?? NaN,
                copy === null ? "" : String(copy),
              ]);
          }
    }
    return lines.map(csvLine).join("");
  };
  const figure = () => {
    const rows = visibleRows(),
      box = sharp ? 80 : side,
      left = 112,
      cw = box + 14,
      letters = info.measure ? 34 : 10,
      heads = captions.map((c) => wrapped(plainly(c), Math.floor(cw / 5.6)).slice(0, 6)),
      top = 10 + 12 * Math.max(1, ...heads.map((l) => l.length)),
      rh = box + letters,
      width = left + cw * captions.length + 6,
      height = top + rh * rows.length + 8;
    const root_ = svg(
        "svg",
        {
          xmlns: "http://www.w3.org/2000/svg",
          width,
          height,
          viewBox: `0 0 ${width} ${height}`,
          "font-family": SVG_FONT,
          "font-size": 10,
        },
        svg("rect", { width, height, fill: "#ffffff" }),
      ),
      text = (x, y, words, more = {}) => svg("text", { x, y, fill: "#1c1c1c", ...more }, words);
    for (const [c, lines] of heads.entries())
      for (const [i, line] of lines.entries()) {
        const x = left + c * cw + cw / 2;
        root_.append(text(x, top - 12 * (lines.length - i) + 4, line, { "text-anchor": "middle", "font-size": 9 }));
      }
    rows.forEach(([[, title], r], i) => {
      const y = top + i * rh;
      root_.append(text(4, y + box / 2, title, { "font-size": 11 }));
      captions.forEach((_, c) => {
        const cell = cellOf(r, c),
          x = left + c * cw + 7;
        if (cell.file)
          root_.append(
            svg("image", {
              x,
              y,
              width: box,
              height: box,
              href: cell.file,
              style: sharp ? "image-rendering:pixelated" : null,
            }),
          );
        root_.append(
          svg("rect", {
            x,
            y,
            width: box,
            height: box,
            fill: "none",
            stroke: cell.copy ? PAPER_COLOURS.other : "#d0d0d0",
            "stroke-width": cell.copy ? 2.5 : 0.7,
          }),
          ...[cell.said, verdict(cell.copy)].map((words, k) =>
            text(x + box / 2, y + box + 12 * (k + 1), words, {
              "text-anchor": "middle",
              "font-weight": cell.copy ? "bold" : "normal",
            }),
          ),
        );
      });
    });
    return drawn(root_);
  };
  const drawer = exportDrawer(model, (type, content) => send(type, { ...content, fields: fieldsNow() }), {
    stem,
    figure,
    table: csv,
    example: "measures.zarr, measures.csv, mask.npz",
  });
  setText(drawer.files.querySelector("[data-testid=csv]"), "Measures (CSV)");
  setText(drawer.files.querySelector("[data-testid=svg]"), "Picture grid (SVG)");
  setText(drawer.files.querySelector("[data-testid=png]"), "Picture grid (PNG)");
  setText(
    drawer.files.querySelector(".mn-saverow .mn-label"),
    "Save on the kernel’s machine: the measures (.zarr, .nc, .csv, .parquet) or the mask shown (.npz)",
  );
  const mapCsv = () =>
    download(
      `${stem()}_map.csv`,
      "text/csv",
      [
        ["layer", "step", "share_beyond_3", "largest_z"],
        ...scores.layers.flatMap((name, r) =>
          Array.from({ length: scores.steps }, (_, c) => [
            name,
            c + 1,
            scores.share[r * scores.steps + c],
            scores.largest[r * scores.steps + c],
          ]),
        ),
      ]
        .map(csvLine)
        .join(""),
    );
  drawer.files.querySelector(".mn-buttons").append(
    h("button", {
      type: "button",
      class: "mn-button",
      "data-testid": "map-csv",
      text: "Map (CSV)",
      onclick: () => {
        if (scores) mapCsv();
      },
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

  const drawRest = () => {
    setText(frame.line, placeNow().text);
    editBox.hidden = !model.get("edit").weights && !states.before;
    drawer.files.hidden = !states.before;
    drawForm();
    drawMap();
  };
  const all = () => {
    drawGrid();
    drawRest();
  };
  listen(["prompts"], build);
  listen(DRAWN, () => {
    drawStates();
    drawRest();
  });
  listen(
    ["memorised", "reference", "place", "method", "chosen", "sparsity", "first", "step", "seed", "limit", "edit"],
    () => {
      drawGrid();
      drawRest();
    },
  );
  listen(["scores"], drawMap);
  listen(["doubts"], drawForm);
  listen(["force"], drawForce);
  listen(["status", "progress", "error"], () => {
    drawForm();
    drawGrid();
  });
  listen(["document"], take);
  const close = frame.open(el, {
    parts: [form, editBox, pictures, attackBox, mapBox],
    drawer,
    box: pictures,
    draw: all,
  });
  build();
  all();
  return close;
}

export default { render };
