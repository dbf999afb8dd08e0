import assert from "node:assert/strict";
import { test } from "node:test";
import { ofCell, valueText } from "../../widgets/patch_explorer/readout.js";

test("a feature that is off says so, and one that was not read is no number", () => {
  assert.equal(valueText(0), "off");
  assert.equal(valueText(null), "—");
  assert.notEqual(valueText(0.5), "off");
});

test("a readout of a cell that is no longer looked at is not shown", () => {
  const cell = { run: 1, layer: 3, column: 5 };
  assert.ok(ofCell({ ...cell, status: "ready" }, { ...cell, site: "z" }));
  assert.ok(!ofCell({ ...cell, column: 4, status: "ready" }, cell));
  assert.ok(!ofCell({}, cell));
});
