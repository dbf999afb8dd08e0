// The faithfulness curve: how much of the metric circuits of each size keep, with intervals, random ones beside.

import { axes, dataTable, svg, ticks } from "../base/charts.js";
import { absent, between, many, share, short } from "../base/text.js";

export const RANKINGS = { absolute: "by size of the score", signed: "by signed score", given: "given" };

const finite = (values) => values.filter((v) => !absent(v));

/** f against the share of edges kept, on a log axis; one ranking. */
export const faithfulnessChart = (c, curve, ranking, width, height) => {
  const rows = curve.lines[ranking] ?? Object.values(curve.lines)[0],
    sizes = curve.sizes,
    means = finite(rows.flatMap((r) => [r.f, ...r.random])).concat([0, 1]),
    ends = finite(rows.flatMap((r) => [r.f_low, r.f_high])).concat(means),
    // an interval far wider than the curve is cut at the edge; the table has its ends
    low = Math.max(Math.min(...means) - 0.5, Math.min(...ends)),
    high = Math.min(Math.max(...means) + 0.5, Math.max(...ends)),
    pad = 0.06 * (high - low);
  const a = axes(c, {
    width,
    height,
    label:
      `Faithfulness by share of edges kept, ${RANKINGS[ranking]}: ` +
      `${rows.map((r, i) => `${share(sizes[i])}: ${short(r.f)}`).join(", ")}.`,
    x: {
      low: sizes[0] * 0.8,
      high: 1.15,
      map: Math.log,
      marks: sizes.map((v) => [v, share(v)]),
      title: "share of edges kept (log)",
    },
    y: {
      low: low - pad,
      high: high + pad,
      marks: ticks(low, high, 5).map((v) => [v, short(v)]),
      title: "faithfulness f",
    },
  });
  const Y = (v) => a.Y(Math.max(low - pad, Math.min(high + pad, v)));
  for (const v of [0, 1])
    a.root.append(
      svg("line", {
        x1: a.left,
        x2: a.right,
        y1: a.Y(v),
        y2: a.Y(v),
        style: `stroke:${c.muted}`,
        "stroke-dasharray": "2 3",
      }),
    );
  rows.forEach((row, i) => {
    const x = a.X(sizes[i]) + 3,
      values = finite(row.random);
    if (!values.length) return;
    const group = svg(
      "g",
      { style: `stroke:${c.other}`, "data-line": "random" },
      svg("title", {}, `${many(values.length, "random circuit")}: ${values.map(short).join(", ")}`),
      svg("line", { x1: x, x2: x, y1: Y(Math.min(...values)), y2: Y(Math.max(...values)), "stroke-width": 1.2 }),
    );
    for (const v of values)
      group.append(
        svg("rect", { x: x - 2.5, y: Y(v) - 2.5, width: 5, height: 5, style: `fill:${c.page}`, "stroke-width": 1.3 }),
      );
    a.root.append(group);
  });
  const spots = rows.map((row, i) => ({ x: a.X(sizes[i]) - 3, row })).filter(({ row }) => !absent(row.f));
  if (spots.length)
    a.root.append(
      svg("path", {
        d: `M${spots.map(({ x, row }) => `${x.toFixed(1)} ${Y(row.f).toFixed(1)}`).join("L")}`,
        style: `fill:none;stroke:${c.accent}`,
        "stroke-width": 1.6,
      }),
    );
  for (const { x, row } of spots) {
    const group = svg(
      "g",
      { style: `stroke:${c.accent}`, "data-line": "circuit" },
      svg("title", {}, `${many(row.n_edges, "edge")}: ${short(row.f)} ${between(row.f_low, row.f_high)}`),
    );
    if (!absent(row.f_low) && !absent(row.f_high))
      group.append(svg("line", { x1: x, x2: x, y1: Y(row.f_low), y2: Y(row.f_high), "stroke-width": 1.4 }));
    group.append(svg("circle", { cx: x, cy: Y(row.f), r: 3.8, style: `fill:${c.accent};stroke:${c.page}` }));
    a.root.append(group);
  }
  return a.root;
};

/** The numbers of one ranking. */
export const faithfulnessTable = (curve, ranking) =>
  dataTable(
    "curve-table",
    ["kept", "edges", "on a path", "f", "random (least to most)", "p", "f of all others"],
    (curve.lines[ranking] ?? Object.values(curve.lines)[0]).map((row, i) => {
      const random = finite(row.random);
      return [
        share(curve.sizes[i]),
        row.n_edges.toLocaleString("en"),
        row.on_path.toLocaleString("en"),
        [short(row.f), between(row.f_low, row.f_high)],
        random.length ? between(Math.min(...random), Math.max(...random)) : "–",
        short(row.p),
        short(row.complement),
      ];
    }),
  );

/** What the curve is of, in words. */
export const faithfulnessWords = (curve, ranking) => {
  const areas = curve.areas[ranking] ?? {},
    name = ranking === "signed" ? "CPR" : "CMD",
    random = finite(areas[`random_${name}`] ?? []);
  const area = absent(areas[name])
    ? ""
    : ` ${name} ${short(areas[name])}` +
      `${absent(areas[`${name}_low`]) ? "" : ` (${between(areas[`${name}_low`], areas[`${name}_high`])})`}` +
      `${random.length ? `, random circuits ${between(Math.min(...random), Math.max(...random))}` : ""};` +
      `${name === "CPR" ? " larger is better." : " 0 is best."}`;
  return (
    `f = 1: the circuit alone keeps the metric of all edges (${short(curve.full)} ${curve.unit}), 0: that of none ` +
    `(${short(curve.empty)}); ${many(curve.n, "pair")}, ${100 * curve.level} % intervals over pairs, ` +
    `${many(curve.controls, "random circuit")} of each size beside; p counts those at least as faithful ` +
    `(Monte Carlo).${area}`
  );
};

export const CURVE_COLUMNS = [
  "ranking",
  "share",
  "n_edges",
  "on_path",
  "f",
  "f_low",
  "f_high",
  "random_least",
  "random_most",
  "p",
  "complement",
];

export const curveRows = (curve) =>
  Object.entries(curve.lines).flatMap(([ranking, rows]) =>
    rows.map((r, i) => {
      const random = finite(r.random),
        ends = random.length ? [Math.min(...random), Math.max(...random)] : [NaN, NaN];
      return [
        ranking,
        curve.sizes[i],
        r.n_edges,
        r.on_path,
        r.f ?? NaN,
        r.f_low ?? NaN,
        r.f_high ?? NaN,
        ...ends,
        r.p ?? NaN,
        r.complement ?? NaN,
      ];
    }),
  );
