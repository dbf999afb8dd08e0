// The charts of CurvatureView: the spectrum by rank, and who uses the band.

import { axes, overDrawing, svg, ticks } from "../base/charts.js";
import { absent, between, many, short } from "../base/text.js";
import { floats } from "../base/traits.js";

export const BASES = { kfac: "curvature", random: "random bases", svd: "singular vectors" };
export const bandText = (low, high) => `${short(100 * low)}–${short(100 * high)} %`;

export const readSpectra = (raw, bins) => {
  if (!raw?.names) return null;
  const found = { ...raw };
  for (const k of ["density", "mass", "energy"]) {
    const all = floats(raw[k]);
    found[k] = (i) => all.subarray(i * bins, (i + 1) * bins);
  }
  return found;
};

/** Log mass of a pair by rank, a line a layer; the chosen one strong. `band`: [low, high], shaded. */
export const spectrumChart = (c, s, ends, view, width, height) => {
  const { layer, everywhere, low, high, log } = view,
    starts = [0, ...ends.slice(0, -1)],
    middle = ends.map((e, i) => (log ? Math.sqrt(Math.max(starts[i], e / 3) * e) : (starts[i] + e) / 2));
  let top = 1,
    least = 1;
  s.names.forEach((_, i) => {
    for (const v of s.density(i))
      if (v > 0 && Number.isFinite(v)) {
        top = Math.max(top, v);
        least = Math.min(least, v);
      }
  });
  least = Math.max(least, top * 1e-14);
  const decades = Math.ceil(Math.log10(top / least)),
    step = Math.max(1, Math.ceil(decades / 6)),
    marks = [];
  for (let e = Math.floor(Math.log10(least)); e <= Math.ceil(Math.log10(top)); e += 1)
    if (e % step === 0 && 10 ** e >= least * 0.8 && 10 ** e <= top * 1.3)
      marks.push([10 ** e, e >= -2 && e < 4 ? String(10 ** e) : `1e${e}`.replace("-", "−")]);
  const at = s.names.indexOf(layer),
    from = log ? ends[0] / 3 : 0,
    a = axes(c, {
      width,
      height,
      left: 60,
      label:
        `Curvature mass by rank of ${many(s.names.length, "layer")}; ${everywhere ? "all layers" : layer} ` +
        `chosen, band ${bandText(low, high)}. Arrow keys move the band, Shift with them its end.`,
      x: {
        low: from,
        high: 1,
        map: log ? Math.log : null,
        marks: (log ? [0.001, 0.01, 0.1, 0.25, 0.5, 1] : [0, 0.1, 0.25, 0.5, 0.75, 1]).map((v) => [
          v,
          `${short(100 * v)} %`,
        ]),
        title: "rank of the pair of eigenvectors, % of all pairs, largest mass first",
      },
      y: { low: least * 0.7, high: top * 1.5, map: Math.log, marks, title: "mass of a pair, layer’s mean = 1" },
    });
  const x0 = a.X(Math.max(low, from)),
    x1 = a.X(high);
  a.root.append(
    svg("rect", {
      x: x0,
      width: Math.max(1, x1 - x0),
      y: a.top,
      height: a.bottom - a.top,
      style: `fill:${c.other};opacity:.16`,
      class: "mn-band",
    }),
  );
  for (const x of [x0, x1])
    a.root.append(
      svg("line", {
        x1: x,
        x2: x,
        y1: a.top,
        y2: a.bottom,
        style: `stroke:${c.other}`,
        "stroke-width": 1.8,
        "stroke-dasharray": "5 3",
      }),
    );
  a.root.append(
    a.words(
      {
        x: Math.min(Math.max((x0 + x1) / 2, a.left + 40), a.right - 40),
        y: a.top + 2,
        "text-anchor": "middle",
        "font-weight": 600,
        style: overDrawing(c),
      },
      bandText(low, high),
    ),
  );
  const path = (i) => {
    let d = "",
      pen = "M";
    s.density(i).forEach((v, k) => {
      if (!(v > 0)) return;
      d += `${pen}${a.X(middle[k]).toFixed(1)} ${a.Y(Math.max(v, least)).toFixed(1)}`;
      pen = "L";
    });
    return d;
  };
  s.names.forEach((name, i) => {
    if (i !== at)
      a.root.append(
        svg("path", {
          d: path(i),
          "data-layer": name,
          style: `fill:none;stroke:${everywhere ? c.accent : c.muted};opacity:${everywhere ? 0.75 : 0.45}`,
          "stroke-width": everywhere ? 1.1 : 0.9,
        }),
      );
  });
  if (at >= 0)
    a.root.append(
      svg("path", { d: path(at), "data-layer": layer, style: `fill:none;stroke:${c.accent}`, "stroke-width": 2.4 }),
    );
  a.share = (x) => {
    const part = Math.max(0, Math.min(1, (x - a.left) / (a.right - a.left)));
    return log ? (part === 0 ? 0 : from ** (1 - part)) : part;
  };
  return a;
};

/** Ratio of activation by layer with its interval, beside random bases. */
export const ratioChart = (c, rows, side, width, height) => {
  const read = (row, basis) => row[`${basis}_${side}`],
    all = rows
      .flatMap((r) => [...read(r, "kfac"), ...read(r, "random")])
      .filter((v) => !absent(v))
      .concat([1]),
    pad = 0.08 * (Math.max(...all) - Math.min(...all)) || 0.05,
    every = [1, 2, 5, 10, 20].find((n) => rows.length / n <= width / 30) ?? 50;
  const low = Math.min(...all) - pad,
    high = Math.max(...all) + pad,
    a = axes(c, {
      width,
      height,
      title: `Memorised over clean, ${side} of each layer`,
      label:
        `Activation of memorised over clean text in the band, by layer: ` +
        `${rows.map((r) => `${r.layer} ${short(read(r, "kfac")[0])}`).join(", ")}.`,
      x: {
        low: -0.6,
        high: rows.length - 0.4,
        marks: rows.map((_r, i) => [i, String(i + 1)]).filter(([i]) => !i || (i + 1) % every === 0),
        title: "layer, as listed",
      },
      y: { low, high, marks: ticks(low, high, 5).map((v) => [v, short(v)]), title: "ratio" },
    });
  const apart = Math.min(6, 0.18 * (a.X(1) - a.X(0)));
  a.root.append(
    svg("line", {
      x1: a.left,
      x2: a.right,
      y1: a.Y(1),
      y2: a.Y(1),
      style: `stroke:${c.muted}`,
      "stroke-dasharray": "2 3",
    }),
  );
  rows.forEach((row, i) => {
    for (const [basis, colour, shift] of [
      ["random", c.other, apart],
      ["kfac", c.accent, -apart],
    ]) {
      const [v, l, u] = read(row, basis),
        x = a.X(i) + shift;
      if (absent(v)) continue;
      const group = svg(
        "g",
        { style: `stroke:${colour}` },
        svg("title", {}, `${row.layer}, ${BASES[basis]}: ${short(v)} ${between(l, u)}`),
      );
      if (!absent(l) && !absent(u))
        group.append(svg("line", { x1: x, x2: x, y1: a.Y(l), y2: a.Y(u), "stroke-width": 1.3 }));
      group.append(
        basis === "kfac"
          ? svg("circle", { cx: x, cy: a.Y(v), r: 3.2, style: `fill:${colour}` })
          : svg("rect", { x: x - 3, y: a.Y(v) - 3, width: 6, height: 6, style: `fill:${c.page}`, "stroke-width": 1.4 }),
      );
      a.root.append(group);
    }
  });
  return a.root;
};
