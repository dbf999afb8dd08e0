// CurvatureView: the spectrum by rank, a band of it brushed, and what goes when it is taken out.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { drawn, PAGE_COLOURS, PAPER_COLOURS } from "../base/charts.js";
import { download, errorBox, field, h, option, setText } from "../base/dom.js";
import { button, exportDrawer } from "../base/export.js";
import { shell } from "../base/shell.js";
import { csvLine, many, share } from "../base/text.js";
import { tiedControls } from "../base/traits.js";
import { brush } from "./brush.js";
import { carriesParts } from "./carries.js";
import { bandText, readSpectra, spectrumChart } from "./charts.js";
import { layerList } from "./layer_list.js";
import { takenParts } from "./taken.js";

function render({ model, el }) {
  const frame = shell(model, {
    title: "Loss curvature",
    testid: "curvature-view",
    name: "Curvature view",
    kind: "mn-memory",
    label: "Take it out",
    help: "Take the band out, measure recitation and clean loss, and put it back",
    stop: "Stop after the measurement in progress; the weights are restored",
    unit: "Measurements",
    start: () => send("run", { fields: state() }),
  });
  const { send, listen, root, row, error } = frame;
  const info = model.get("model_info"),
    ends = model.get("ends"),
    layers = model.get("layers"),
    stops = [0, ...ends];
  const push = (values) => {
    for (const [k, v] of Object.entries(values)) model.set(k, v);
    send("move", { fields: { ...state(), ...values } });
    drawSoon();
  };
  const { bound } = tiedControls(model, listen, push),
    state = () => Object.fromEntries(["layer", "everywhere", "low", "high", "seed"].map((k) => [k, model.get(k)]));
  const near = (v) => stops.reduce((best, s) => (Math.abs(s - v) < Math.abs(best - v) ? s : best), 0),
    step = (v, by) => stops[Math.max(0, Math.min(stops.length - 1, stops.indexOf(near(v)) + by))];

  // --- the spectrum, and the brush
  let spectra = null,
    chart = null,
    log = false;
  const empty = h("div", { class: "mn-empty", "data-testid": "empty" }),
    box = h("div", {
      class: "mn-chart mn-brush",
      tabindex: "0",
      role: "group",
      "data-testid": "spectrum",
      "aria-label":
        "Spectrum and band. Arrow keys left and right move the band, with Shift its end, with Alt its " +
        "beginning; up and down choose the layer.",
    });
  const choose = (name) => push({ layer: name }),
    list = layerList(layers, choose),
    facts = h("p", { class: "mn-note", "data-testid": "facts" });
  const percentage = (name, label) => {
    const c = h("input", {
      type: "number",
      min: 0,
      max: 100,
      step: 1,
      "data-testid": name,
      "aria-label": label,
      onchange: () => {
        const v = near(Number(c.value) / 100);
        setBand(...(name === "low" ? [v, model.get("high")] : [model.get("low"), v]));
      },
    });
    return c;
  };
  const low = percentage("low", "Band begins at, %"),
    high = percentage("high", "Band ends at, %"),
    everywhere = bound("everywhere", h("input", { type: "checkbox" })),
    logBox = h("input", {
      type: "checkbox",
      "data-testid": "log",
      onchange: () => {
        log = logBox.checked;
        draw();
      },
    });
  const presets = model
    .get("presets")
    .map(([name, a, b]) => button(`preset-${a}`, name, () => setBand(a, b), "mn-small"));
  const setBand = (a, b) => {
    if (!(a < b)) {
      drawFields();
      return;
    }
    push({ low: a, high: b });
  };
  const preview = (a, b) => {
    if (a < b) {
      model.set("low", a);
      model.set("high", b);
      draw();
    }
  };
  const hand = brush(box, {
    ends,
    stops,
    near,
    step,
    preview,
    choose,
    set: setBand,
    chart: () => chart,
    spectra: () => spectra,
    band: () => [model.get("low"), model.get("high")],
    turn: (by) => {
      const next = layers[layers.findIndex((l) => l.name === model.get("layer")) + by];
      if (next) choose(next.name);
    },
  });
  const spectrumBox = h(
    "section",
    { class: "mn-section", "aria-label": "Spectrum" },
    h(
      "div",
      { class: "mn-side-head" },
      h("h3", { text: "Curvature mass by rank" }),
      h("span", {
        class: "mn-note",
        text:
          `${info.by === "ekfac" ? "EKFAC" : "K-FAC"}, ${info.fisher} Fisher; drag to brush a band, click ` +
          `a line to choose its layer`,
      }),
    ),
    empty,
    h("div", { class: "mn-spectrum" }, box, list.element),
    facts,
    h(
      "div",
      { class: "mn-controls" },
      field("Band from, %", low),
      field("to, %", high),
      h("div", {}, h("span", { class: "mn-label", text: "Bands of the paper" }), ...presets),
      h("label", { class: "mn-check" }, everywhere, "in all layers"),
      h("label", { class: "mn-check" }, logBox, "log rank"),
      field("Seed", bound("seed", h("input", { type: "number", min: 0, step: 1 }))),
    ),
  );
  const drawFields = () => {
    for (const [c, name] of [
      [low, "low"],
      [high, "high"],
    ])
      if (document.activeElement !== c || !hand.dragging()) c.value = Number((100 * model.get(name)).toFixed(2));
    for (const [i, [, a, b]] of model.get("presets").entries())
      presets[i].setAttribute("aria-pressed", String(a === model.get("low") && b === model.get("high")));
    list.mark(model.get("layer"));
  };
  spectrumBox.classList.toggle("mn-many", list.inLines);
  const draw = () => {
    if (!root.isConnected) return;
    drawFields();
    empty.hidden = !!spectra;
    box.parentElement.hidden = !spectra;
    drawer.files.hidden = !spectra;
    if (!spectra) {
      const t = model.get("spectra").text;
      const failed = { class: "mn-bad", role: "alert", text: t };
      empty.replaceChildren(h("strong", t ? failed : { text: "Reading the spectrum …" }));
      return;
    }
    const width = Math.max(280, box.clientWidth || 600),
      height = 300;
    chart = spectrumChart(PAGE_COLOURS, spectra, ends, { ...state(), log }, width, height);
    chart.width = width;
    box.replaceChildren(chart.root);
    const i = spectra.names.indexOf(model.get("layer")),
      f = spectra.facts[i];
    setText(
      facts,
      f
        ? `${model.get("layer")}: ${f.d_out} × ${f.d_in}, ${many(f.pairs, "pair")}; half of the mass in ` +
            `${share(f.half)} of them, nine tenths in ${share(f.most)}. Rank of A ${f.rank_a}, of G ` +
            `${f.rank_g}, from ${many(f.tokens, "token")}.` +
            `${f.deficient ? " Fewer tokens than dimensions: part of the bottom has mass 0 for want of data." : ""}` +
            (spectra.names.length < spectra.of ? ` ${spectra.names.length} of ${spectra.of} layers read so far.` : "")
        : spectra.names.length < spectra.of
          ? `${spectra.names.length} of ${spectra.of} layers read`
          : "",
    );
    drawCarries();
  };
  let waiting;
  const drawSoon = () => {
    cancelAnimationFrame(waiting);
    waiting = requestAnimationFrame(() => {
      draw();
      drawTaken();
    });
  };

  // --- what the band carries
  const carries = h("div", { "data-testid": "carries" }),
    carriesTitle = h("span", { class: "mn-note" }),
    side = h(
      "select",
      { "data-testid": "side", "aria-label": "Side of the layer", onchange: () => drawCarries() },
      option("output", "what it adds to the layer’s output"),
      option("input", "what the layer’s input has along it"),
    );
  const carriesBox = h(
    "section",
    { class: "mn-section", "data-testid": "carries-box", "aria-label": "What the band carries" },
    h("div", { class: "mn-side-head" }, h("h3", { text: "What the band carries" }), carriesTitle),
    h("div", { class: "mn-controls" }, field("Activation measured as", side)),
    carries,
  );
  const summed = (key) => {
    const i = spectra?.names.indexOf(model.get("layer")) ?? -1;
    if (i < 0) return null;
    const from = stops.indexOf(near(model.get("low"))),
      to = stops.indexOf(near(model.get("high")));
    return [...spectra[key](i).subarray(from, to)].reduce((p, q) => p + q, 0);
  };
  const drawCarries = () => {
    const c = model.get("carries"),
      now = state(),
      fresh = c.fields && Object.entries(c.fields).every(([k, v]) => now[k] === v);
    carriesBox.setAttribute("data-status", fresh ? c.status : "stale");
    setText(
      carriesTitle,
      `band ${bandText(now.low, now.high)} of ${now.everywhere ? `all ${layers.length} layers` : now.layer}`,
    );
    if (fresh && c.status === "error") {
      carries.replaceChildren(errorBox(c.title, c.text, "carries-error"));
      return;
    }
    const rows = fresh && c.status === "ready" ? c.rows : [];
    carries.replaceChildren(
      ...carriesParts(rows, {
        before: { mass: summed("mass"), energy: summed("energy") },
        everywhere: now.everywhere,
        s: side.value,
        info,
        width: Math.max(280, Math.round(carries.clientWidth || 700)),
        waiting: fresh && c.of > 1 ? ` ${c.done} of ${c.of} layers` : "",
      }),
    );
  };

  // --- without the band
  const taken = h("div", { "data-testid": "taken" }),
    takenTitle = h("span", { class: "mn-note" });
  const takenBox = h(
    "section",
    { class: "mn-section", "aria-label": "Without the band" },
    h("div", { class: "mn-side-head" }, h("h3", { text: "Without the band" }), takenTitle),
    h("div", { class: "mn-controls" }, row),
    error,
    taken,
  );
  const drawTaken = () => {
    const t = model.get("taken"),
      same =
        t.fields &&
        Object.entries(t.fields).every(([k, v]) => (k === "layer" && t.fields.everywhere ? true : model.get(k) === v)),
      busy = ["running", "stopping"].includes(model.get("status"));
    setText(takenTitle, t.tables ? t.what : "");
    if (!t.tables) {
      taken.replaceChildren(
        h("p", {
          class: "mn-note",
          text:
            "Only this band is removed from the weights; recitation and clean loss are measured without it " +
            "and beside random bases that remove the same norm. Then the weights are put back.",
        }),
      );
      return;
    }
    taken.replaceChildren(...takenParts(t, same || busy, info.level));
  };

  // --- export, and what changes with what
  const stem = () => `curvature_${model.get("everywhere") ? "all" : model.get("layer")}`.replace(/[^\w-]+/g, "_");
  const table = () => {
    let text = "layer,from,to,mass_over_mean,share_of_mass,share_of_squared_weight\r\n";
    for (const [i, name] of spectra.names.entries())
      for (const [k, end] of ends.entries())
        text += csvLine([name, stops[k], end, spectra.density(i)[k], spectra.mass(i)[k], spectra.energy(i)[k]]);
    return text;
  };
  const json = () =>
    JSON.stringify(
      {
        model: info.name,
        by: info.by,
        fisher: info.fisher,
        level: info.level,
        ...state(),
        carries: model.get("carries").rows ?? [],
        removal: model.get("taken").tables ?? null,
      },
      null,
      1,
    );
  const drawer = exportDrawer(model, (type, content) => send(type, { ...content, fields: state() }), {
    stem,
    figure: () => drawn(spectrumChart(PAPER_COLOURS, spectra, ends, { ...state(), log }, 620, 340).root),
    table,
    example: "band.zarr, band.nc, band.csv, band.parquet",
    labels: { csv: "Spectrum (CSV)", save: "Save on the kernel’s machine what the band’s removal did, as" },
    after: [button("json", "Band (JSON)", () => download(`${stem()}.json`, "application/json", json()))],
  });
  listen(["spectra"], () => {
    spectra = readSpectra(model.get("spectra"), ends.length);
    draw();
  });
  listen(["layer", "everywhere", "low", "high", "seed"], drawSoon);
  listen(["carries"], drawCarries);
  listen(["taken"], drawTaken);
  listen(["status", "progress", "error"], () => {
    drawTaken();
  });
  const close = frame.open(el, {
    parts: [spectrumBox, carriesBox, takenBox],
    drawer,
    box: spectrumBox,
    draw,
  });
  spectra = readSpectra(model.get("spectra"), ends.length);
  draw();
  drawTaken();
  return close;
}

export default { render };
