// SubspaceBench's charts: trade-off, curves by strength, layer map.

import { axes, svg, ticks } from "../base/charts.js";
import { css, inkOn } from "../base/colour.js";
import { readTexts } from "../base/passages.js";
import { absent, between, many, share, short } from "../base/text.js";
import { floats } from "../base/traits.js";

export const NAMES = {
  strict: "recited word for word",
  loose: "recited loosely (75 % right)",
  lev: "edit distance, share of tokens",
  exact_prefix: "right tokens from the start",
  nll: "loss of the suffix, nats/token",
};

export const KINDS = {
  sparsity: { title: "share of weights set to 0", unit: "sparsity", taken: "weights" },
  kept: { title: "curvature mass kept", unit: "mass kept", taken: "coefficients" },
};

/** Filled circles on a line for the edit, open squares on a dashed line for the control. */
export const mark = (c, line, x, y, size = 4) =>
  line === "edit"
    ? svg("circle", { cx: x, cy: y, r: size, style: `fill:${c.accent};stroke:${c.page}`, "stroke-width": 1 })
    : svg("rect", {
        x: x - size + 0.5,
        y: y - size + 0.5,
        width: 2 * size - 1,
        height: 2 * size - 1,
        style: `fill:${c.page};stroke:${c.other}`,
        "stroke-width": 1.6,
      });

const spanned = (low, high) => {
  const pad = 0.06 * (high - low) || 0.05;
  return [low - pad, high + pad];
};

/** One line a method with its intervals; `place(row, i)` gives x, `read(row)` [value, low, high]. */
const curves = (c, a, f, set, at, place, read, xSpan) => {
  for (const line of ["random", "edit"]) {
    const rows = [f.unedited, ...f[line]].map((row, i) => [row[set], i]),
      kind = line === "edit" ? "edit" : "control",
      colour = line === "edit" ? c.accent : c.other;
    const spots = rows
      .map(([row, i]) => {
        const [value, low, high] = read(row);
        return { x: a.X(place(row, i)), y: a.Y(value), low, high, value, i, row };
      })
      .filter((s) => Number.isFinite(s.x) && Number.isFinite(s.y) && !absent(s.value));
    if (!spots.length) continue;
    a.root.append(
      svg("path", {
        d: `M${spots.map((s) => `${s.x.toFixed(1)} ${s.y.toFixed(1)}`).join("L")}`,
        style: `fill:none;stroke:${colour}`,
        "stroke-width": 1.6,
        "stroke-dasharray": line === "edit" ? null : "5 4",
      }),
    );
    for (const s of spots) {
      const now = s.i === at,
        group = svg(
          "g",
          { "data-point": s.i, "data-line": kind, style: `stroke:${colour}` },
          svg(
            "title",
            {},
            `${s.i ? `${kind === "edit" ? f.method : f.control}, ${short(f.strengths[s.i - 1])}` : "unedited"}` +
              `: ${short(s.value)} ${between(s.low, s.high)}`,
          ),
        );
      if (!absent(s.low) && !absent(s.high))
        group.append(
          svg("line", {
            x1: s.x,
            x2: s.x,
            y1: a.Y(s.low),
            y2: a.Y(s.high),
            "stroke-width": 1.2,
            opacity: now ? 1 : 0.45,
          }),
        );
      const wide = xSpan?.(s.row);
      if (wide && !absent(wide[0]))
        group.append(
          svg("line", {
            x1: a.X(wide[0]),
            x2: a.X(wide[1]),
            y1: s.y,
            y2: s.y,
            "stroke-width": 1.2,
            opacity: now ? 1 : 0.45,
          }),
        );
      group.append(mark(c, kind, s.x, s.y));
      if (now)
        group.append(
          svg("circle", {
            cx: s.x,
            cy: s.y,
            r: 8.5,
            style: `fill:none;stroke:${c.text}`,
            "stroke-width": 1.8,
            class: "mn-here",
          }),
        );
      a.root.append(group);
    }
  }
};

// Rises from near 0 to many nats: straight up to 0.1, then ever more compressed.
const bend = (v) => Math.asinh(v / 0.1);

export const planeChart = (c, f, set, measure, at, width, height) => {
  const rows = [f.unedited, ...f.edit, ...f.random].map((r) => r[set]),
    xs = rows.flatMap((r) => [r.rise, r.rise_low, r.rise_high]).filter((v) => !absent(v)),
    most = Math.max(0.02, ...xs),
    bent = most > 1;
  const low = Math.min(0, ...xs),
    marks = bent
      ? [-1, -0.1, 0, 0.1, 0.3, 1, 3, 10, 30].filter((v) => v <= most && v >= low)
      : ticks(low, most, width / 110);
  const a = axes(c, {
    width,
    height,
    title: "Recitation against what it costs",
    label:
      `Trade-off: ${NAMES[measure]} against the rise of the clean loss; ` +
      `${many(f.strengths.length, "point")} of ${f.method}, beside ${f.control}.`,
    x: {
      low: low - 0.04 * most,
      high: most * 1.05,
      map: bent ? bend : null,
      marks: marks.map((v) => [v, short(v)]),
      title:
        width < 360
          ? `rise, nats per token${bent ? " (compressed)" : ""}`
          : `rise of the clean loss, nats per token${bent ? " (compressed above 0.1)" : ""}`,
    },
    y: {
      low: -0.04,
      high: 1.04,
      marks: [0, 0.25, 0.5, 0.75, 1].map((v) => [v, `${100 * v} %`]),
      title: measure === "strict" ? "recited word for word" : "recited loosely",
    },
  });
  curves(
    c,
    a,
    f,
    set,
    at,
    (row) => row.rise,
    (row) => [row[measure], row[`${measure}_low`], row[`${measure}_high`]],
    (row) => [row.rise_low, row.rise_high],
  );
  return a.root;
};

const strengthChart = (c, f, set, at, width, height, { title, read, y }) => {
  const names = ["none", ...f.strengths.map(short)],
    a = axes(c, {
      width,
      height,
      title,
      label:
        `${title} by ${KINDS[f.kind].title}: ` +
        `${f.edit.map((r, i) => `${short(f.strengths[i])}: ${short(read(r[set])[0])}`).join(", ")}.`,
      x: { low: -0.4, high: names.length - 0.6, marks: names.map((t, i) => [i, t]), title: KINDS[f.kind].title },
      y,
    });
  a.root.append(
    svg("line", {
      x1: a.X(at),
      x2: a.X(at),
      y1: a.top,
      y2: a.bottom,
      style: `stroke:${c.muted}`,
      "stroke-width": 1,
      "stroke-dasharray": "2 3",
    }),
  );
  curves(c, a, f, set, at, (_, i) => i, read);
  return a.root;
};

export const reciteChart = (c, f, set, measure, at, width, height) =>
  strengthChart(c, f, set, at, width, height, {
    title: NAMES[measure][0].toUpperCase() + NAMES[measure].slice(1),
    read: (r) => [r[measure], r[`${measure}_low`], r[`${measure}_high`]],
    y: { low: -0.04, high: 1.04, marks: [0, 0.5, 1].map((v) => [v, `${100 * v} %`]), title: "share of sequences" },
  });

export const lossChart = (c, f, set, at, width, height) => {
  const values = [...f.edit, ...f.random]
      .flatMap((r) => [r[set].rise, r[set].rise_low, r[set].rise_high])
      .filter((v) => !absent(v)),
    [low, high] = spanned(Math.min(0, ...values), Math.max(0.01, ...values)),
    bent = high > 1;
  return strengthChart(c, f, set, at, width, height, {
    title: "Clean loss over the unedited model",
    read: (r) => [r.rise, r.rise_low, r.rise_high],
    y: {
      low,
      high,
      map: bent ? bend : null,
      marks: (bent ? [-1, 0, 0.1, 0.3, 1, 3, 10, 30].filter((v) => v >= low && v <= high) : ticks(low, high, 5)).map(
        (v) => [v, short(v)],
      ),
      title: "rise, nats per token",
    },
  });
};

/** Shares that the edit takes, a row a matrix and a column a block. */
export const layerMap = (c, f, point, theme, width, cursor) => {
  const { matrices, blocks, names } = f.grid,
    columns = blocks.length,
    cells = f.cellsAt(point),
    top = Math.max(1e-9, ...cells.filter((v) => !absent(v))),
    left = Math.max(40, ...matrices.map((m) => m.length * 6.4 + 10));
  const cw = Math.max(7, Math.min(150, (width - left - 6) / columns)),
    ch = 22,
    root = svg("svg", {
      xmlns: "http://www.w3.org/2000/svg",
      width: Math.ceil(left + cw * columns + 6),
      height: ch * matrices.length + 18,
      role: "img",
      "font-family": "system-ui, DejaVu Sans, Arial, sans-serif",
      "font-size": 10.5,
      viewBox: `0 0 ${Math.ceil(left + cw * columns + 6)} ${ch * matrices.length + 18}`,
      "aria-label":
        `Share of each layer’s ${KINDS[f.kind].taken} taken, ${matrices.length} matrices by ${columns} ` +
        `blocks, at most ${share(top)}.`,
    });
  const every = Math.ceil(20 / cw),
    text = (x, y, words, more = {}) => svg("text", { x, y, style: `fill:${c.muted}`, ...more }, words);
  matrices.forEach((m, r) => {
    root.append(text(left - 6, r * ch + 15, m, { "text-anchor": "end" }));
    blocks.forEach((_b, k) => {
      const v = cells[r * columns + k];
      if (!names[r][k]) return;
      const colour = theme.single(absent(v) ? 0 : v / top),
        place = { x: left + k * cw, y: r * ch, width: cw - 1, height: ch - 1 };
      root.append(
        svg(
          "rect",
          {
            ...place,
            "data-cell": r * columns + k,
            style: `fill:${css(colour)};stroke:${c.line}`,
            "stroke-width": 0.5,
          },
          svg("title", {}, `${names[r][k]}: ${share(v)}`),
        ),
      );
      if (cw >= 34)
        root.append(
          text(left + k * cw + cw / 2, r * ch + 15, short(100 * v), {
            "text-anchor": "middle",
            "pointer-events": "none",
            style: `fill:${inkOn(colour)}`,
          }),
        );
      if (cursor === r * columns + k)
        root.append(svg("rect", { ...place, style: `fill:none;stroke:${c.text}`, "stroke-width": 2.4 }));
    });
  });
  blocks.forEach((b, k) => {
    if (k % every === 0)
      root.append(text(left + (k + 0.5) * cw, ch * matrices.length + 13, String(b), { "text-anchor": "middle" }));
  });
  return root;
};

export const readFound = (raw) => {
  if (!raw?.unedited) return null;
  const cells = floats(raw.cells),
    size = raw.grid.matrices.length * raw.grid.blocks.length;
  return {
    ...raw,
    texts: readTexts(raw.texts),
    cellsAt: (point) => [...cells.subarray((point - 1) * size, point * size)],
  };
};

const COLUMNS = [
  "strict",
  "strict_low",
  "strict_high",
  "loose",
  "loose_low",
  "loose_high",
  "lev",
  "exact_prefix",
  "nll",
  "loss",
  "rise",
  "rise_low",
  "rise_high",
  "ndcg",
];

export const rowsOf = (f) =>
  [
    ["unedited", NaN, 0, f.unedited],
    ...["edit", "random"].flatMap((line) =>
      f[line].map((r, i) => [line === "edit" ? "edit" : "control", f.strengths[i], f.shares[i], r]),
    ),
  ].flatMap(([line, s, taken, r]) =>
    f.sets.map((set) => ({
      line,
      strength: s,
      share_taken: taken,
      sequences: set,
      n: r[set].n,
      ...Object.fromEntries(COLUMNS.map((k) => [k, r[set][k] ?? NaN])),
    })),
  );
