// What the gate reads at every token, with and without the edit, beside its threshold.

import { axes, overDrawing, svg, ticks } from "../base/charts.js";
import { absent, short, visible } from "../base/text.js";

/** Of a token: whether the gate was looked at there, and what it said. */
export const stateAt = (arm, i, prompt) =>
  arm.open[i] ? "open" : arm.looked[i] ? "shut" : i < prompt - 1 ? "prompt, not looked at" : "not looked at";

/** detail: of one prompt; chosen: the token looked at. */
export const gateChart = (c, d, { width, height, chosen = -1 }) => {
  const arms = [
      ["plain", "without the edit", c.other, "5 3"],
      ["gated", "with the gated edit", c.accent, null],
    ],
    values = arms.flatMap(([name]) => d[name].reading).filter((v) => !absent(v)),
    room = [...values, ...(absent(d.threshold) ? [] : [d.threshold])],
    spread = Math.max(...room) - Math.min(...room) || 1,
    low = Math.min(...room) - 0.08 * spread,
    high = Math.max(...room) + 0.08 * spread,
    count = Math.max(d.plain.tokens.length, d.gated.tokens.length),
    opened = d.gated.open.flatMap((open, i) => (open ? [i] : []));
  const a = axes(c, {
    width,
    height,
    label:
      `What the gate reads by token, threshold ${short(d.threshold)}: ` +
      (opened.length ? `open at token ${opened.join(", ")}.` : "open at no token.") +
      ` At the prompt’s last token it reads ${short(d.gated.reading[d.prompt - 1])}.`,
    x: {
      low: -0.5,
      high: count - 0.5,
      marks: ticks(0, count - 1, Math.min(count, 12))
        .filter((v) => v % 1 === 0)
        .map((v) => [v, String(v)]),
      title: "token (0: the first of the prompt)",
    },
    y: { low, high, marks: ticks(low, high, 4).map((v) => [v, short(v)]), title: "what the gate reads" },
  });
  const end = a.X(d.prompt - 0.5);
  a.root.append(
    svg("rect", {
      x: a.left,
      y: a.top,
      width: end - a.left,
      height: a.bottom - a.top,
      style: `fill:${c.line}`,
      opacity: 0.35,
    }),
    a.words({ x: a.left + 4, y: a.top + 10 }, "prompt"),
  );
  if (chosen >= 0 && chosen < count)
    a.root.append(
      svg("line", { x1: a.X(chosen), x2: a.X(chosen), y1: a.top, y2: a.bottom, style: `stroke:${c.muted}` }),
    );
  if (!absent(d.threshold)) {
    const y = a.Y(d.threshold);
    a.root.append(
      svg("line", {
        "data-part": "threshold",
        x1: a.left,
        x2: a.right,
        y1: y,
        y2: y,
        style: `stroke:${c.text}`,
        "stroke-width": 1.4,
      }),
    );
  }
  for (const [name, words, colour, dash] of arms) {
    const places = d[name].reading.flatMap((v, i) => (absent(v) ? [] : [[a.X(i), a.Y(v), i, v]])),
      group = svg("g", { "data-arm": name }, svg("title", {}, words));
    group.append(
      svg("path", {
        d: places.length ? `M${places.map(([x, y]) => `${x.toFixed(1)} ${y.toFixed(1)}`).join("L")}` : "M0 0",
        style: `stroke:${colour};fill:none`,
        "stroke-width": 1.7,
        "stroke-dasharray": dash,
      }),
    );
    for (const [x, y, i, v] of places) {
      const open = d[name].open[i];
      group.append(
        svg(
          "circle",
          {
            cx: x,
            cy: y,
            r: open ? 5 : 2.6,
            style: `fill:${open ? colour : c.page};stroke:${colour}`,
            "stroke-width": 1.4,
          },
          svg("title", {}, `token ${i} ${visible(d[name].tokens[i])}: ${short(v)}, ${stateAt(d[name], i, d.prompt)}`),
        ),
      );
    }
    a.root.append(group);
  }
  if (!absent(d.threshold))
    a.root.append(
      a.words(
        { x: a.right - 2, y: a.Y(d.threshold) - 4, "text-anchor": "end", style: overDrawing(c) },
        "threshold; open above",
      ),
    );
  return a.root;
};

/** The lines of the chart, in words. */
export const gateKey = (c, h) =>
  h(
    "div",
    { class: "mn-key" },
    ...[
      [c.accent, null, "with the gated edit; full where the gate was open"],
      [c.other, "5 3", "without the edit"],
    ].map(([colour, dash, words]) =>
      h(
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
            style: `stroke:${colour}`,
            "stroke-width": 1.8,
            "stroke-dasharray": dash,
          }),
        ),
        words,
      ),
    ),
  );
