// Curves of an unlearning: each measure by dose, the method beside training on the retain set alone, the twin and the
// start.

import { axes, dataTable, svg, ticks } from "../base/charts.js";
import { absent, between, short } from "../base/text.js";

export const RETAIN_ONLY = "retain_only";

/** How lines are drawn: colour by the page's palette, dashes. */
export const styleOf = (c, arm, method) =>
  arm === method
    ? { stroke: c.accent, width: 2, dash: null }
    : arm === RETAIN_ONLY
      ? { stroke: c.other, width: 1.6, dash: "7 3" }
      : { stroke: arm === "twin" ? c.text : c.muted, ...(MODELS[arm] ?? MODELS.start) };

/** Dashes of the models, no two alike. */
const MODELS = {
  twin: { width: 1.4, dash: "2 3" },
  start: { width: 1.2, dash: "10 3 2 3" },
  clean: { width: 1.2, dash: "14 4" },
  never_knew: { width: 1.6, dash: "1 5" },
};

export const NAMES = {
  retain_only: "training on the retain set alone",
  start: "the start",
  twin: "the twin, which never had the rows",
  clean: "the model before",
  never_knew: "a model that never knew",
};

/** An arm in words. */
export const nameOf = (arm) => NAMES[arm] ?? arm.replaceAll("_", " ");

/** Arms with a line: the method, retain only, and the models; those after an attack stand in the table. */
export const drawnArms = (curves) => curves.arms.filter((arm) => !arm.includes(" after "));

/** The colour and dashes of each line, in words. */
export const keyOf = (c, curves, h) =>
  h(
    "div",
    { class: "mn-key", "data-testid": "key" },
    ...drawnArms(curves).map((arm) => {
      const { stroke, width, dash } = styleOf(c, arm, curves.method);
      return h(
        "span",
        {},
        svg(
          "svg",
          { width: 30, height: 8, "aria-hidden": "true" },
          svg("line", {
            x1: 0,
            x2: 30,
            y1: 4,
            y2: 4,
            style: `stroke:${stroke}`,
            "stroke-width": width,
            "stroke-dasharray": dash,
          }),
        ),
        nameOf(arm),
      );
    }),
  );

/** One measure by dose. */
export const measureChart = (c, curves, measure, width, height) => {
  const arms = drawnArms(curves),
    points = arms.flatMap((arm) => measure.lines[arm] ?? []),
    values = points.flatMap(([, mean, low, high]) => [mean, low, high]).filter((v) => !absent(v)),
    right = Math.max(1e-9, ...points.map(([dose]) => dose)),
    top = measure.share ? 1 : Math.max(1e-9, ...values) * 1.05,
    bottom = measure.share ? 0 : Math.min(0, ...values);
  const said = arms
    .filter((arm) => measure.lines[arm]?.length)
    .map((arm) => `${nameOf(arm)} ends at ${short(measure.lines[arm].at(-1)[1])}`);
  const a = axes(c, {
    width,
    height,
    title: measure.name,
    label: `${measure.name} by dose: ${said.join(", ")}.`,
    x: { low: 0, high: right, marks: ticks(0, right, 5).map((v) => [v, short(v)]), title: "dose (steps)" },
    y: {
      low: bottom,
      high: top,
      marks: ticks(bottom, top, 4).map((v) => [v, short(v)]),
      title: measure.share ? "share, probability" : "nats",
    },
  });
  for (const arm of arms) {
    const line = measure.lines[arm] ?? [],
      { stroke, width: thick, dash } = styleOf(c, arm, curves.method),
      look = { style: `stroke:${stroke};fill:none`, "stroke-width": thick, "stroke-dasharray": dash };
    if (!line.length) continue;
    if (curves.models.includes(arm)) {
      const y = a.Y(line[0][1]);
      a.root.append(svg("line", { x1: a.left, x2: a.right, y1: y, y2: y, "data-arm": arm, ...look }));
      continue;
    }
    a.root.append(
      svg("path", {
        d: `M${line.map(([dose, mean]) => `${a.X(dose).toFixed(1)} ${a.Y(mean).toFixed(1)}`).join("L")}`,
        "data-arm": arm,
        ...look,
      }),
    );
    for (const [dose, mean, low, high] of line) {
      const x = a.X(dose) + (arm === curves.method ? 0 : 3),
        group = svg(
          "g",
          { style: `stroke:${stroke}` },
          svg("title", {}, `${nameOf(arm)}, dose ${short(dose)}: ${short(mean)} ${between(low, high)}`),
        );
      if (!absent(low) && !absent(high)) group.append(svg("line", { x1: x, x2: x, y1: a.Y(low), y2: a.Y(high) }));
      group.append(svg("circle", { cx: x, cy: a.Y(mean), r: 3, style: `fill:${stroke};stroke:${c.page}` }));
      a.root.append(group);
    }
  }
  return a.root;
};

/** The last look of every arm. */
export const armTable = (curves) =>
  dataTable(
    "arms",
    ["arm", ...curves.measures.map((m) => m.name)],
    curves.arms.map((arm) => [
      `${arm}${curves.status[arm] === "complete" ? "" : ` (${curves.status[arm]})`}`,
      ...curves.measures.map((m) => {
        const last = m.lines[arm]?.at(-1);
        return last ? [short(last[1]), between(last[2], last[3])] : "–";
      }),
    ]),
  );

/** Every look of every arm as rows of a file. */
export const curveRows = (curves) =>
  curves.measures.flatMap((m) =>
    curves.arms.flatMap((arm) =>
      (m.lines[arm] ?? []).map(([dose, mean, low, high]) => [m.name, arm, dose, mean, low ?? NaN, high ?? NaN]),
    ),
  );
