// The causal cone over a heat map.

import { luminance } from "./colour.js";

/**
 * Cells that the chosen edit can change: a dot in each, in the colour that contrasts with the cell, and a line
 * round them.
 */
export const drawCone = (map, pen) => {
  const { rows, columns } = map.grid,
    inside = (r, c) => r >= 0 && r < rows && c >= 0 && c < columns && map.cone(r, c),
    { cw, ch } = map;
  pen.lineWidth = 1;
  const dots = cw >= 6 && ch >= 6,
    edge = new Path2D();
  for (let r = 0; r < rows; r++)
    for (let c = 0; c < columns; c++) {
      if (!inside(r, c)) continue;
      const x = c * cw,
        y = map.y(r),
        up = map.grid.flip ? r + 1 : r - 1,
        down = map.grid.flip ? r - 1 : r + 1;
      if (dots) {
        const colour = map.grid.colour ? (map.grid.colour(r, c, map.theme) ?? map.theme.missing) : map.theme.missing;
        pen.fillStyle = luminance(colour) > 0.45 ? "rgba(0,0,0,.62)" : "rgba(255,255,255,.75)";
        pen.fillRect(x + cw / 2 - 1, y + ch / 2 - 1, 2, 2);
      }
      if (!inside(up, c)) {
        edge.moveTo(x, y + 0.5);
        edge.lineTo(x + cw, y + 0.5);
      }
      if (!inside(down, c)) {
        edge.moveTo(x, y + ch - 0.5);
        edge.lineTo(x + cw, y + ch - 0.5);
      }
      if (!inside(r, c - 1)) {
        edge.moveTo(x + 0.5, y);
        edge.lineTo(x + 0.5, y + ch);
      }
      if (!inside(r, c + 1)) {
        edge.moveTo(x + cw - 0.5, y);
        edge.lineTo(x + cw - 0.5, y + ch);
      }
    }
  pen.strokeStyle = map.theme.background;
  pen.lineWidth = 3;
  pen.stroke(edge);
  pen.strokeStyle = map.theme.text;
  pen.lineWidth = 1.25;
  pen.stroke(edge);
};
