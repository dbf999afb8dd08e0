// Every head small: heads down, layers across.

import { h } from "../base/dom.js";

/** From a weight, and the head's largest, to a place on the colour scale. */
export const SCALES = {
  full: (v) => v,
  root: (v) => Math.sign(v) * Math.sqrt(Math.abs(v)),
  head: (v, top) => (top ? v / top : 0),
};

/** All thumbnails as one image: heads down, layers across, a line of background between two. */
export const thumbnails = (overview, scale, theme) => {
  const n = overview.size,
    gap = 1,
    cell = n + 2 * gap,
    rows = overview.heads.length,
    columns = overview.layers.length,
    canvas = h("canvas", { width: columns * cell, height: rows * cell });
  const pen = canvas.getContext("2d"),
    image = pen.createImageData(canvas.width, canvas.height),
    shape = SCALES[scale],
    signed = overview.signed;
  for (let k = 0; k < image.data.length; k += 4) {
    image.data[k] = theme.page[0];
    image.data[k + 1] = theme.page[1];
    image.data[k + 2] = theme.page[2];
    image.data[k + 3] = 255;
  }
  for (let c = 0; c < columns; c++)
    for (let r = 0; r < rows; r++) {
      const from = (c * rows + r) * n * n;
      let largest = 0;
      const read = (i) => (signed ? (overview.image[from + i] - 128) / 127 : overview.image[from + i] / 255);
      if (scale === "head") for (let i = 0; i < n * n; i++) largest = Math.max(largest, Math.abs(read(i)));
      for (let q = 0; q < n; q++)
        for (let k = 0; k <= q; k++) {
          const v = shape(read(q * n + k), largest),
            [red, green, blue] = signed ? theme.diverging(0.5 + v / 2) : theme.single(v),
            at = 4 * ((r * cell + gap + q) * canvas.width + c * cell + gap + k);
          image.data[at] = red;
          image.data[at + 1] = green;
          image.data[at + 2] = blue;
        }
    }
  pen.putImageData(image, 0, 0);
  return canvas;
};
