// AttentionView: every head small, one head large, one token read out.
// State is in the traits (see view.py), commands are messages {type: ...}.

import { ColourBar } from "../base/colourbar.js";
import { field, h, option, setText } from "../base/dom.js";
import { exportDrawer } from "../base/export.js";
import { svgFigure } from "../base/figure.js";
import { HeatMap } from "../base/heatmap.js";
import { shell } from "../base/shell.js";
import { TokenStrip } from "../base/strip.js";
import { csvLine, number, shorten, visible } from "../base/text.js";
import { floats, octets } from "../base/traits.js";
import { SCALES, thumbnails } from "./thumbnails.js";

function render({ model, el }) {
  const frame = shell(model, {
    title: "Attention",
    testid: "attention-view",
    name: "Attention view",
    kind: "mn-attn",
    label: "Compute",
    help: "Compute the attention of this text",
    stop: "Leave what is under way; what is shown stays",
    unit: "Texts computed",
    start: () => send("run", { fields: { text: text.value } }),
  });
  const { send, listen, set, root, row, error } = frame,
    get = (name) => model.get(name);
  let overview = null,
    pattern = null;

  const text = h("textarea", { rows: 2, spellcheck: "false", "data-testid": "text" });
  const submit = () => {
    if (text.value !== get("text")) set({ text: text.value, which: "text" });
  };
  text.onchange = submit;
  const which = h(
    "select",
    { "data-testid": "which", onchange: () => set({ which: which.value }) },
    ...get("choices").map((c) => option(c, c)),
  );
  const layer = h("select", { "data-testid": "layer", onchange: () => set({ layer: Number(layer.value) }) });
  const head = h("select", { "data-testid": "head", onchange: () => set({ head: Number(head.value) }) });
  const scale = h(
    "select",
    { "data-testid": "scale", onchange: () => set({ scale: scale.value }) },
    option("full", "0 to 1"),
    option("root", "square root (small weights visible)"),
    option("head", "each head's largest"),
  );
  const sink = h("input", {
    type: "checkbox",
    "data-testid": "hide-first",
    onchange: () => set({ hide_first: sink.checked }),
  });
  const reverse = h(
    "select",
    { "data-testid": "reverse", onchange: () => set({ reverse: reverse.value === "to" }) },
    option("from", "attends to"),
    option("to", "is attended by"),
  );
  const value = (q, k) => pattern.values[q * pattern.size + k];
  const masked = (q, k) => k > q,
    hiddenKey = (k) => k === 0 && get("hide_first");
  const label = (i) => visible(pattern.tokens[i] ?? "");

  const heads = new HeatMap({
    label: "All heads. Arrow keys move, Enter chooses a head.",
    testid: "heads",
    name: (r, c) => (overview ? `layer ${overview.layers[c]}, head ${overview.heads[r]}` : ""),
    select: (at) => set({ layer: overview.layers[at.column], head: overview.heads[at.row] }),
  });
  const map = new HeatMap({
    label:
      "Attention of the chosen head: rows are queries, columns are keys. Arrow keys move, Enter chooses the token.",
    testid: "pattern",
    name: (q, k) =>
      !pattern
        ? ""
        : masked(q, k)
          ? `query ${q} ${label(q)}, key ${k} ${label(k)}, later token, masked`
          : `query ${q} ${label(q)}, key ${k} ${label(k)}, ${number(value(q, k))}`,
    select: (at) => set({ token: get("reverse") ? at.column : at.row }),
  });
  const legend = new ColourBar("colour-bar"),
    strip = new TokenStrip({
      label: "Tokens of the prompt; arrow keys choose one",
      choose: (token) => set({ token }),
      hover: (i) => tell(i),
    });
  const readout = h("div", { class: "mn-readout", "data-testid": "readout", "aria-live": "polite" }),
    top = h("ol", { class: "mn-top", "data-testid": "top" }),
    title = h("h3", { "data-testid": "head-title" });

  const draw = () => {
    if (!root.isConnected) return;
    const has = !!(overview && pattern?.size);
    body.hidden = heads.element.hidden = overviewTitle.hidden = !has;
    empty.hidden = has || !!get("error").text;
    drawer.element.hidden = !has;
    if (!has) return;
    const room = root.clientWidth - 30 || 700,
      side = Math.max(10, Math.min(56, Math.floor((room - 50) / overview.layers.length)));
    heads.update(
      {
        rows: overview.heads.length,
        columns: overview.layers.length,
        rowLabels: overview.heads.map(String),
        columnLabels: overview.layers.map((l) => ({ text: String(l) })),
        rowTitle: "head",
        columnTitle: "layer",
        image: (theme) => thumbnails(overview, get("scale"), theme),
        cellWidth: side,
        cellHeight: side,
        tip: (r, c) => [["", `layer ${overview.layers[c]}, head ${overview.heads[r]}`]],
      },
      room,
    );
    heads.selected = { row: overview.heads.indexOf(get("head")), column: overview.layers.indexOf(get("layer")) };
    heads.focus = { ...heads.selected };
    heads.drawOverlay();
    heads.announce();
    let largest = 0;
    for (let q = 0; q < pattern.size; q++)
      for (let k = 0; k <= q; k++) if (!hiddenKey(k)) largest = Math.max(largest, Math.abs(value(q, k)));
    const shape = SCALES[get("scale")],
      signed = pattern.signed,
      labels = pattern.tokens.map((t) => ({ text: visible(t) }));
    paint = (v, theme) => {
      const s = shape(v, largest);
      return signed ? theme.diverging(0.5 + s / 2) : theme.single(s);
    };
    const mapRoom = Math.max(260, Math.min(room * 0.55, room - 330)),
      fit = Math.floor((mapRoom - 130) / pattern.size);
    map.update(
      {
        rows: pattern.size,
        columns: pattern.size,
        rowLabels: labels.map((t) => shorten(t.text, 16)),
        columnLabels: labels,
        rowTitle: "query",
        columnTitle: "key",
        height: 460,
        cellWidth: Math.max(3, Math.min(26, fit)),
        cellHeight: Math.max(3, Math.min(26, fit)),
        colour: (q, k, theme) => (masked(q, k) || hiddenKey(k) ? theme.page : paint(value(q, k), theme)),
        tip: (q, k) => [
          ["query", `${q} ${label(q)}`],
          ["key", `${k} ${label(k)}`],
          masked(q, k) ? ["", "later token: masked"] : ["attention", number(value(q, k))],
        ],
      },
      mapRoom,
    );
    const most = get("scale") === "head" ? largest : 1;
    legend.update({
      ramp: signed ? map.theme.diverging : map.theme.single,
      low: signed ? number(-most) : "0",
      middle: signed ? "0" : get("scale") === "root" ? "0.25" : "",
      high: number(most),
      title: signed ? "attention, clean minus corrupted" : "attention weight",
    });
    setText(title, `Head ${get("layer")}.${get("head")}`);
    drawStrip();
  };
  let paint = () => [0, 0, 0];

  /** The chosen token's row (what it attends to) or column (what attends to it). */
  const weights = () => {
    const t = chosen(),
      out = [];
    for (let i = 0; i < pattern.size; i++) {
      const [q, k] = get("reverse") ? [i, t] : [t, i];
      out.push(masked(q, k) ? null : value(q, k));
    }
    return out;
  };
  const chosen = () =>
    Math.max(0, Math.min(pattern.size - 1, get("token") < 0 ? pattern.size + get("token") : get("token")));

  const drawStrip = () => {
    const list = weights(),
      theme = map.theme;
    strip.update(
      pattern.tokens.map((token, i) => {
        const off = list[i] === null || (!get("reverse") && hiddenKey(i));
        return { token, colour: off ? theme.page : paint(list[i], theme), says: off ? "" : number(list[i]) };
      }),
      chosen(),
    );
    const ranked = list
      .map((v, i) => [v, i])
      .filter(([v, i]) => v !== null && (get("reverse") || !hiddenKey(i)))
      .sort((a, b) => Math.abs(b[0]) - Math.abs(a[0]))
      .slice(0, 10);
    top.replaceChildren(
      ...ranked.map(([v, i]) =>
        h(
          "li",
          {},
          h("span", { class: "mn-p-bar", style: `width:${Math.min(100, 100 * Math.abs(v)).toFixed(1)}%` }),
          h("code", { text: `${i} ${shorten(label(i), 30)}` }),
          h("span", { class: "mn-p", text: number(v) }),
        ),
      ),
    );
    tell(null);
  };
  const tell = (i) => {
    const t = chosen(),
      verb = get("reverse") ? "is attended by" : "attends to",
      list = weights();
    if (i !== null && i !== undefined) {
      setText(
        readout,
        list[i] === null
          ? `${label(i)} comes ${get("reverse") ? "before" : "after"} ${label(t)}: masked`
          : `${label(t)} ${verb} ${label(i)}: ${number(list[i])}`,
      );
      return;
    }
    const share =
      !get("reverse") && get("hide_first") && !pattern.signed
        ? ` · the hidden first token takes ${number(value(t, 0))}`
        : "";
    setText(readout, `Token ${t}, ${label(t)}, ${verb}:${share}`);
  };
  const options = (select, values, current) => {
    if (select.length !== values.length) select.replaceChildren(...values.map((v) => option(String(v), String(v))));
    select.value = String(current);
  };
  const pull = () => {
    const raw = get("overview"),
      one = get("pattern");
    overview = raw.image ? { ...raw, image: octets(raw.image) } : null;
    pattern = one.values ? { ...one, values: floats(one.values) } : null;
    if (document.activeElement !== text) text.value = get("text");
    which.value = get("which");
    scale.value = get("scale");
    sink.checked = get("hide_first");
    reverse.value = get("reverse") ? "to" : "from";
    if (overview) {
      options(layer, overview.layers, get("layer"));
      options(head, overview.heads, get("head"));
    }
    draw();
  };

  const empty = h(
    "div",
    { class: "mn-empty", "data-testid": "empty" },
    h("strong", { text: "No text yet" }),
    h("p", { text: "Write a text above and press Ctrl+Enter: every head's attention pattern appears here." }),
  );
  const overviewTitle = h("div", {
    class: "mn-caption",
    text: "All heads, each a small query × key map. Click one, or use the arrow keys and Enter.",
  });
  const body = h(
    "div",
    { class: "mn-attention" },
    h(
      "section",
      { "aria-label": "Chosen head" },
      h("div", { class: "mn-side-head" }, title, legend.element),
      map.element,
    ),
    h(
      "section",
      { class: "mn-read", "aria-label": "Chosen token" },
      h("div", { class: "mn-read-head" }, h("span", { text: "The chosen token" }), reverse),
      strip.element,
      readout,
      top,
    ),
  );
  reverse.setAttribute("aria-label", "Direction of reading");
  listen(["overview", "pattern", "error", "layer", "head", "scale", "hide_first", "reverse", "which", "text"], pull);
  listen(["token"], () => {
    if (pattern && root.isConnected) drawStrip();
  });

  // --- export
  const stem = () => `attention_${get("layer")}_${get("head")}`;
  const csv = () => {
    let lines = csvLine(["query", "query_token", "key", "key_token", "attention"]);
    for (let q = 0; q < pattern.size; q++)
      for (let k = 0; k <= q; k++) lines += csvLine([q, pattern.tokens[q], k, pattern.tokens[k], value(q, k)]);
    return lines;
  };
  const figure = () => {
    const grid = map.grid,
      blank = (q, k) => masked(q, k) || hiddenKey(k);
    // The figure's own colours are diverging: blue for a negative difference, orange for weight.
    return svgFigure(
      { ...grid, colour: (q, k, theme) => (blank(q, k) ? [255, 255, 255] : theme.diverging(0.5 + value(q, k) / 2)) },
      {
        title: `${get("model_info").name}: attention of layer ${get("layer")}, head ${get("head")}`,
        subtitle: pattern.signed ? "clean minus corrupted" : "rows are queries, columns are keys",
        bar: "attention",
        limit: 1,
      },
    );
  };
  const drawer = exportDrawer(model, send, { stem, figure, table: csv, example: "attention.zarr, attention.nc" });
  const several = get("choices").length > 1;
  const close = frame.open(el, {
    parts: [
      several ? null : field("Text", text),
      h(
        "div",
        { class: "mn-controls" },
        several ? field("Prompt", which) : null,
        field("Layer", layer),
        field("Head", head),
        field("Colour scale", scale),
        h("label", { class: "mn-check" }, sink, "hide the first token (attention sink)"),
        row,
      ),
      error,
      empty,
      overviewTitle,
      h("div", { class: "mn-heads" }, heads.element),
      body,
    ],
    drawer,
    box: root,
    draw,
  });
  pull();
  return close;
}

export default { render };
