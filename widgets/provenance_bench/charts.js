// ProvenanceBench's charts: e-value by rows, score by position, null distribution.

import { overDrawing, svg, ticks } from "../base/charts.js";
import { absent, csvLine, many } from "../base/text.js";
import { floats } from "../base/traits.js";

export const COLOURS_PAGE = {
  text: "var(--mn-text)",
  muted: "var(--mn-muted)",
  line: "var(--mn-line)",
  accent: "var(--mn-accent)",
  mark: "var(--mn-mark)",
  page: "var(--mn-bg)",
};

export const COLOURS_PAPER = {
  text: "#1c1c1c",
  muted: "#555555",
  line: "#d0d0d0",
  accent: "#0b61b8",
  mark: "#b35900",
  page: "#ffffff",
};

export const grouped = (n) => Math.round(n).toLocaleString("en");

/** A p-value; it is never 0. */
export const pText = (p) =>
  absent(p) ? "–" : p < 1e-300 ? "< 1e-300" : p >= 0.001 ? String(Number(p.toPrecision(2))) : p.toExponential(1);

export const short = (v) => {
  const size = Math.abs(v);
  return (size && (size < 1e-3 || size >= 1e6) ? v.toExponential(1) : String(Number(v.toPrecision(3)))).replace(
    "-",
    "−",
  );
};

/** A number given by its logarithm to base 10, which may be too large for a float. */
export const power = (log) =>
  Math.abs(log) < 4
    ? short(10 ** log)
    : `${(10 ** (log - Math.floor(log))).toFixed(1)}e${log < 0 ? "−" : "+"}${Math.abs(Math.floor(log))}`;

/** Axes with their titles; `X` and `Y` map values to the picture. */
const axes = (c, { width, height, title, under, label, x, y, xTicks, yTicks, xTitle, yTitle, grid = true }) => {
  const left = 58,
    right = width - 22,
    top = 42,
    bottom = height - 40,
    text = (attributes, words) => svg("text", { style: `fill:${c.muted}`, "font-size": 10.5, ...attributes }, words);
  const X = (v) => left + ((v - x[0]) / (x[1] - x[0] || 1)) * (right - left),
    Y = (v) => bottom - ((v - y[0]) / (y[1] - y[0] || 1)) * (bottom - top);
  const root = svg(
    "svg",
    {
      xmlns: "http://www.w3.org/2000/svg",
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      "aria-label": label,
      "font-family": "system-ui, DejaVu Sans, Arial, sans-serif",
      "font-size": 11,
    },
    text({ x: 2, y: 13, "font-size": 12, "font-weight": 600, style: `fill:${c.text}` }, title),
    text({ x: 2, y: 27 }, under),
  );
  for (const [v, words] of yTicks) {
    if (grid)
      root.append(
        svg("line", { x1: left, x2: right, y1: Y(v), y2: Y(v), style: `stroke:${c.line}`, "stroke-width": 0.7 }),
      );
    root.append(text({ x: left - 6, y: Y(v) + 3.5, "text-anchor": "end" }, words));
  }
  for (const [v, words, below] of xTicks) {
    root.append(text({ x: X(v), y: bottom + 14, "text-anchor": "middle" }, words));
    if (below) root.append(text({ x: X(v), y: bottom + 26, "text-anchor": "middle", "font-size": 9.5 }, below));
  }
  root.append(
    svg("line", { x1: left, x2: right, y1: bottom, y2: bottom, style: `stroke:${c.muted}` }),
    text({ x: (left + right) / 2, y: height - 2, "text-anchor": "middle" }, xTitle),
    text({ transform: `translate(11 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle" }, yTitle),
  );
  return { root, X, Y, left, right, top, bottom, text };
};

/** e against rows on a log axis, with the line at which the rule stops. */
export const eChart = (c, f, width, height) => {
  const most = Math.max(f.stop, ...f.path_e),
    least = Math.min(0, ...f.path_e),
    low = Math.max(-8, Math.floor(Math.min(least, -0.5) - 0.001)),
    high = most + 0.12 * (most - low),
    total = Math.max(f.fields.rows - f.left_out, f.n, 4);
  const step = Math.max(1, ...[1, 2, 3, 5, 10, 20, 50, 100].filter((s) => (high - low) / s >= 4)),
    marks = [];
  for (let v = Math.ceil(low / step) * step; v <= high; v += step)
    marks.push([v, v >= 0 && v < 4 ? grouped(10 ** v) : v < 0 && v > -3 ? String(10 ** v) : `1e${v}`]);
  const line = `e = ${power(f.stop)}${f.fields.rule === "e" ? ": stop" : ` (α = ${f.fields.alpha})`}`;
  const a = axes(c, {
    width,
    height,
    title: "e-value by rows",
    under: f.e_under,
    label:
      `e-value against rows, log axis: now ${power(f.log10_e)} after ${many(f.n, "row")}; ` +
      `${f.fields.rule === "e" ? "the rule stops" : "the level is reached"} at ${power(f.stop)}.`,
    x: [0, total],
    y: [low, high],
    xTicks: ticks(0, total, Math.max(2, width / 90)).map((v) => [v, grouped(v)]),
    yTicks: marks,
    xTitle: "rows used",
    yTitle: "e-value, log scale",
  });
  a.root.append(
    svg("line", {
      x1: a.left,
      x2: a.right,
      y1: a.Y(f.stop),
      y2: a.Y(f.stop),
      style: `stroke:${c.mark}`,
      "stroke-width": 1.6,
      "stroke-dasharray": "6 4",
    }),
    a.text({ x: a.left + 5, y: a.Y(f.stop) - 5, style: `fill:${c.text}` }, line),
  );
  if (!f.path_n.length) return a.root;
  const at = [...f.path_n].map((n, i) => [a.X(n), a.Y(Math.max(low, f.path_e[i]))]),
    last = at.at(-1),
    flip = last[0] > a.right - 80;
  a.root.append(
    svg("path", {
      d: `M${at.map((p) => p.map((v) => v.toFixed(1)).join(" ")).join("L")}`,
      style: `fill:none;stroke:${c.accent}`,
      "stroke-width": 1.8,
      "stroke-linejoin": "round",
    }),
    svg("circle", { cx: last[0], cy: last[1], r: 3.5, style: `fill:${c.accent}` }),
    a.text(
      {
        x: last[0] + (flip ? -8 : 8),
        y: last[1] + (flip ? -7 : 4),
        "text-anchor": flip ? "end" : "start",
        "font-weight": 600,
        style: overDrawing(c),
      },
      power(f.log10_e),
    ),
  );
  return a.root;
};

const scoreName = (f) =>
  !f.against || f.fields.statistic === "none"
    ? "NLL of the suspect"
    : f.fields.statistic === "difference"
      ? "NLL, suspect − reference"
      : "residual NLL";

/** Mean score with its interval in each tenth of the rows by position, and how many rows each has. */
export const quantileChart = (c, f, width, height) => {
  const k = f.q_n.length,
    values = [...f.q_mean, ...f.q_low, ...f.q_high].filter((v) => !absent(v)),
    low = Math.min(...values),
    high = Math.max(...values),
    pad = 0.08 * (high - low) || 0.01,
    y = [low - pad, high + pad];
  const at = (i) => (f.q_at.length ? ` (position ${short(f.q_at[i])})` : ""),
    bins = [...f.q_n].map((_, i) => i),
    thin = Math.ceil((42 * k) / width);
  const a = axes(c, {
    width,
    height,
    title: "Mean score by position",
    under: `${f.unit}; ${short(100 * f.level)} % interval (approximate)`,
    label:
      `Mean ${scoreName(f)} in ${k} groups of rows, earliest to latest: ` +
      `${bins.map((i) => short(f.q_mean[i])).join(", ")} ${f.unit}.`,
    x: [-0.6, k - 0.4],
    y,
    xTicks: bins
      .filter((i) => i % thin === 0)
      .map((i) => [i, f.q_at.length ? short(Number(f.q_at[i].toPrecision(2))) : String(i + 1), grouped(f.q_n[i])]),
    yTicks: ticks(y[0], y[1], 4).map((v) => [v, short(v)]),
    xTitle: f.q_at.length
      ? `position in training (${f.kind}), earliest to latest`
      : "tenth of the rows by position, earliest to latest",
    yTitle: `${scoreName(f)}`,
  });
  a.root.append(a.text({ x: a.left - 6, y: a.bottom + 26, "text-anchor": "end", "font-size": 9.5 }, "rows"));
  if (!absent(f.mean))
    a.root.append(
      svg(
        "line",
        {
          x1: a.left,
          x2: a.right,
          y1: a.Y(f.mean),
          y2: a.Y(f.mean),
          style: `stroke:${c.muted}`,
          "stroke-dasharray": "2 3",
        },
        svg("title", {}, `mean of all rows ${short(f.mean)}`),
      ),
    );
  for (const i of bins) {
    const x = a.X(i),
      mark = svg(
        "g",
        { style: `stroke:${c.accent};fill:${c.accent}`, "stroke-width": 1.5 },
        svg(
          "title",
          {},
          `${i + 1} of ${k}${at(i)}: ${short(f.q_mean[i])} [${short(f.q_low[i])}, ${short(f.q_high[i])}] ` +
            `${f.unit}, ${many(f.q_n[i], "row")}`,
        ),
      );
    if (!absent(f.q_low[i]))
      mark.append(
        svg("path", {
          d:
            `M${x} ${a.Y(f.q_low[i])}V${a.Y(f.q_high[i])}M${x - 4} ${a.Y(f.q_low[i])}h8M${x - 4} ` +
            `${a.Y(f.q_high[i])}h8`,
        }),
      );
    mark.append(svg("circle", { cx: x, cy: a.Y(f.q_mean[i]), r: 4 }));
    a.root.append(mark);
  }
  return a.root;
};

/** The statistic under random orders of the same rows, and the one observed. */
export const nullChart = (c, f, width, height) => {
  const edges = f.null_edges,
    low = Math.min(edges[0], f.observed, 0),
    high = Math.max(edges.at(-1), f.observed, 0),
    pad = 0.06 * (high - low),
    top = Math.max(...f.null_counts) * 1.16;
  const a = axes(c, {
    width,
    height,
    title: "Null distribution",
    under: `${grouped(f.draws)} random orders of the same rows`,
    label:
      `Histogram of the rank correlation under ${grouped(f.draws)} random orders, from ${short(edges[0])} ` +
      `to ${short(edges.at(-1))}; observed ${short(f.observed)}.`,
    x: [low - pad, high + pad],
    y: [0, top],
    xTicks: ticks(low - pad, high + pad, Math.max(3, width / 80)).map((v) => [v, short(v)]),
    yTicks: ticks(0, top, 4)
      .filter((v) => Number.isInteger(v))
      .map((v) => [v, grouped(v)]),
    xTitle: "rank correlation rho of score and position",
    yTitle: "orders",
  });
  for (let i = 0; i < f.null_counts.length; i++)
    if (f.null_counts[i])
      a.root.append(
        svg("rect", {
          x: a.X(edges[i]),
          y: a.Y(f.null_counts[i]),
          width: Math.max(0.6, a.X(edges[i + 1]) - a.X(edges[i]) - 0.4),
          height: a.bottom - a.Y(f.null_counts[i]),
          style: `fill:${c.accent};opacity:.55`,
        }),
      );
  const x = a.X(f.observed),
    end = x > (a.left + a.right) / 2;
  a.root.append(
    svg("line", { x1: x, x2: x, y1: a.top - 4, y2: a.bottom, style: `stroke:${c.mark}`, "stroke-width": 2.4 }),
    a.text(
      {
        x: x + (end ? -6 : 6),
        y: a.top + 6,
        "text-anchor": end ? "end" : "start",
        "font-weight": 600,
        style: overDrawing(c),
      },
      `observed ${short(f.observed)}`,
    ),
  );
  return a.root;
};

/** The found trait with its buffers as arrays. */
export const readFound = (raw) => {
  if (!raw?.fields) return null;
  const found = { ...raw };
  for (const name of ["path_n", "path_e", "q_n", "q_mean", "q_low", "q_high", "q_at", "null_counts", "null_edges"])
    found[name] = floats(raw[name]);
  return found;
};

export const quantilesCsv = (f) => {
  let text = "part,position_middle,rows,mean,low,high\r\n";
  f.q_n.forEach((n, i) => {
    text += csvLine([i + 1, f.q_at[i] ?? NaN, n, f.q_mean[i], f.q_low[i], f.q_high[i]]);
  });
  return text;
};
