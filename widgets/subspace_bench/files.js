// What SubspaceBench exports: the curve as a figure, as numbers and with its record, the mask.

import { download } from "../base/dom.js";
import { button, documents, exportDrawer } from "../base/export.js";
import { csvLine } from "../base/text.js";
import { rowsOf } from "./charts.js";

/** `found` gives the curve, `figure` its charts for a paper, `fields` what the person sees. */
export const curveFiles = (model, { send, listen }, { found, figure, fields }) => {
  const info = model.get("model_info"),
    stem = () => `subspace_${found().fields.method}_${found().fields.memorised}`.replace(/[^\w-]+/g, "_");
  const csv = () => {
    const rows = rowsOf(found());
    return [Object.keys(rows[0]), ...rows.map((r) => Object.values(r))].map(csvLine).join("");
  };
  const json = () =>
    JSON.stringify(
      {
        ...found().fields,
        kind: found().kind,
        control: found().control,
        level: info.level,
        layers: found().grid.names.flat().filter(Boolean),
        model: info.name,
        weights: found().hashes[0],
        points: rowsOf(found()),
      },
      (_, v) => (typeof v === "number" && !Number.isFinite(v) ? null : v),
      1,
    );
  documents(model, listen, stem);
  return exportDrawer(model, (type, content) => send(type, { ...content, fields: fields() }), {
    stem,
    figure,
    table: csv,
    example: "curve.zarr, curve.nc, curve.csv, mask.npz",
    labels: {
      csv: "Curve (CSV)",
      save: "Save on the kernel’s machine: the curve (.zarr, .nc, .csv, .parquet) or the mask shown (.npz)",
    },
    after: [
      button("json", "Curve (JSON)", () => download(`${stem()}.json`, "application/json", json())),
      button("npz", "Mask shown (npz)", () => send("document", { kind: "npz", fields: fields() })),
    ],
  });
};
