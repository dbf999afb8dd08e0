// DiffusionBench's pictures as a figure for a paper.

import { drawn, PAPER_COLOURS, svg } from "../base/charts.js";
import { plainly } from "../base/text.js";
import { verdict, wrapped } from "./pictures.js";

const SVG_FONT = "system-ui, DejaVu Sans, Arial, sans-serif";

/**
 * A row for each [title, cells], a column for each caption; a cell has `file`, `said` and `copy`. `box` is a picture's
 * side in pixels, `letters` the room for the words under it.
 */
export const pictureFigure = (captions, rows, { box, letters, sharp }) => {
  const left = 112,
    cw = box + 14,
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
  rows.forEach(([title, cells], i) => {
    const y = top + i * rh;
    root_.append(text(4, y + box / 2, title, { "font-size": 11 }));
    cells.forEach((cell, c) => {
      const x = left + c * cw + 7;
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
