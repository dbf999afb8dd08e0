// What the two views of memorised text share: charts in SVG, and texts whose differing tokens are marked.

const PAGE_COLOURS = { text: "var(--mn-text)", muted: "var(--mn-muted)", line: "var(--mn-line)", accent: "var(--mn-accent)", other: "var(--mn-other)", page: "var(--mn-bg)", band: "var(--mn-accent)" };
const PAPER_COLOURS = { text: "#1c1c1c", muted: "#555555", line: "#d0d0d0", accent: "#0b61b8", other: "#b35900", page: "#ffffff", band: "#0b61b8" };

const absent = (v) => v === null || v === undefined || Number.isNaN(v);
const many = (n, what) => `${n.toLocaleString("en")} ${what}${n === 1 ? "" : "s"}`;
const short = (v) => { if (absent(v)) return "–"; const size = Math.abs(v); return (size && (size < 1e-4 || size >= 1e6) ? v.toExponential(1) : String(Number(v.toPrecision(3)))).replace(/-/g, "−"); };
const share = (v) => (absent(v) ? "–" : `${short(100 * v)} %`);
const between = (low, high, write = short) => (absent(low) || absent(high) ? "" : `${write(low)} to ${write(high)}`);
/** A name as it was given, without characters that could deceive. */
const plainly = (text) => visible(text).replace(/·/g, " ");

const svg = (tag, attributes = {}, ...children) => {
  const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [k, v] of Object.entries(attributes)) if (!absent(v)) node.setAttribute(k, v);
  node.append(...children);
  return node;
};
const drawn = (node) => ({ text: new XMLSerializer().serializeToString(node), width: Number(node.getAttribute("width")), height: Number(node.getAttribute("height")) });

/** About `count` round numbers from low to high. */
const ticks = (low, high, count) => {
  const raw = (high - low) / Math.max(1, count) || 1, size = 10 ** Math.floor(Math.log10(raw)), step = size * ([1, 2, 5].find((m) => m * size >= raw * 0.999) ?? 10), out = [];
  for (let v = Math.ceil(low / step - 1e-9); v * step <= high + 1e-9 * step; v++) out.push(Number((v * step).toPrecision(12)) || 0);
  return out;
};

/** Axes with their titles. x and y: { low, high, marks: [[value, words]], title, map }; the root's X and Y give places in the picture. */
const axes = (c, { width, height, title, label, x, y, left = 54 }) => {
  const right = width - 14, top = title ? 30 : 14, bottom = height - 38, words = (attributes, text) => svg("text", { style: `fill:${c.muted}`, "font-size": 10.5, ...attributes }, text);
  const place = (axis, from, to) => { const f = axis.map ?? ((v) => v), a = f(axis.low), b = f(axis.high); return (v) => from + ((f(v) - a) / (b - a || 1)) * (to - from); };
  const X = place(x, left, right), Y = place(y, bottom, top);
  const root = svg("svg", { xmlns: "http://www.w3.org/2000/svg", viewBox: `0 0 ${width} ${height}`, width, height, role: "img", "aria-label": label, "font-family": "system-ui, DejaVu Sans, Arial, sans-serif", "font-size": 11 });
  if (title) root.append(words({ x: 2, y: 13, "font-size": 12, "font-weight": 600, style: `fill:${c.text}` }, title));
  for (const [v, text] of y.marks) root.append(svg("line", { x1: left, x2: right, y1: Y(v), y2: Y(v), style: `stroke:${c.line}`, "stroke-width": 0.7 }), words({ x: left - 6, y: Y(v) + 3.5, "text-anchor": "end" }, text));
  let end = -99;
  for (const [v, text] of x.marks) { const at = X(v), room = text.length * 3 + 3; if (at - room < end) continue; end = at + room; root.append(words({ x: Math.min(at, width - room - 2), y: bottom + 14, "text-anchor": "middle" }, text)); }
  root.append(svg("line", { x1: left, x2: right, y1: bottom, y2: bottom, style: `stroke:${c.muted}` }), words({ x: (left + right) / 2, y: height - 5, "text-anchor": "middle" }, x.title), words({ transform: `translate(11 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, y.title));
  return { root, X, Y, left, right, top, bottom, words };
};

const head = (...titles) => h("thead", {}, h("tr", {}, ...titles.map((t) => h("th", { scope: "col", text: t }))));
const dataTable = (testid, titles, rows) => h("div", { class: "mn-tablebox" }, h("table", { class: "mn-table", "data-testid": testid }, head(...titles), h("tbody", {}, ...rows.map(([name, ...cells]) => h("tr", {}, h("th", { scope: "row", text: name }),
  ...cells.map((cell) => (Array.isArray(cell) ? h("td", {}, h("span", { text: cell[0] }), cell[1] ? h("span", { class: "mn-why", text: cell[1] }) : null) : h("td", { text: cell }))))))));

/** The texts trait with what was written as token numbers: made(item, point) gives one row of them. */
const readTexts = (raw) => {
  if (!raw || !raw.items) return { tokens: [], items: [], made: () => [] };
  const all = floats(raw.made), sizes = raw.items.map((item) => item.gold.length), total = sizes.reduce((a, b) => a + b, 0), points = total ? all.length / total : 0;
  const starts = []; sizes.reduce((at, n, i) => { starts[i] = at; return at + n * points; }, 0);
  return { ...raw, made: (i, point) => [...all.subarray(starts[i] + point * sizes[i], starts[i] + (point + 1) * sizes[i])] };
};

/** Tokens one after another; those that differ from the row `like` are bold, boxed and underlined, and said to differ. */
const tokenLine = (texts, row, like) => {
  const one = (token, i) => {
    const text = visible(texts.tokens[token]);
    if (!like || like[i] === token) return h("span", { text });
    return h("mark", { title: `differs: in the data ${visible(texts.tokens[like[i]])}` }, h("span", { class: "mn-hidden", text: "differs: " }), text);
  };
  return h("span", { class: "mn-tokens" }, ...row.flatMap((token, i) => [one(token, i), h("wbr")]));
};
const wrongOf = (row, gold) => row.filter((t, i) => t !== gold[i]).length;

/** One memorised or clean text: what was given, what the data has, and what was written under each label. */
const textBlock = (texts, i, labels, what) => {
  const item = texts.items[i], line = (name, node, note) => h("tr", {}, h("th", { scope: "row", text: name }), h("td", {}, node), h("td", { class: "mn-why", text: note ?? "" }));
  return h("div", { class: "mn-text", "data-testid": "text", "data-what": item.what }, h("div", { class: "mn-text-head" }, h("strong", { text: plainly(item.name) }), h("span", { class: "mn-note", text: ` ${what}` })),
    h("table", { class: "mn-lines" }, h("tbody", {}, line("given", tokenLine(texts, item.given)), line("in the data", tokenLine(texts, item.gold)),
      ...labels.map(([name, point]) => { const made = texts.made(i, point), wrong = wrongOf(made, item.gold); return wrong ? line(name, tokenLine(texts, made, item.gold), `${wrong} of ${many(made.length, "token")} differ`) : line(name, h("span", { class: "mn-note", text: "as in the data, word for word" })); }))));
};
/** What has to be said where the unedited model recites none of a set: nothing can be taken away there. */
const noneRecited = (unedited, set) => (unedited.strict === 0 ? `The unedited model recites none of the ${many(unedited.n, "sequence")}${set ? ` “${set}”` : ""} word for word${unedited.loose > 0 ? ` (loosely: ${share(unedited.loose)})` : ", nor loosely"}: what an edit takes away cannot be seen there. Choose text that it knows, a longer prefix or a shorter suffix.` : "");
const LEGEND = () => h("p", { class: "mn-note" }, "Tokens that differ from the data: ", h("span", { class: "mn-tokens" }, h("mark", { text: "boxed and underlined" })), ".");
