import assert from "node:assert/strict";
import { test } from "node:test";
import { ticks } from "../../widgets/base/charts.js";

test("marks of an axis are round, inside its ends, and about as many as asked for", () => {
  assert.deepEqual(ticks(0, 1, 5), [0, 0.2, 0.4, 0.6, 0.8, 1]);
  for (const [low, high, count] of [
    [0.001, 0.0042, 6],
    [-17, 250, 7],
    [3, 3.0001, 3],
  ]) {
    const marks = ticks(low, high, count);
    assert.ok(marks.length >= 2 && marks.length <= 2 * count + 1, `${marks}`);
    assert.ok(marks.every((v) => v >= low - 1e-9 && v <= high + 1e-9));
    const steps = marks.slice(1).map((v, i) => v - marks[i]);
    assert.ok(Math.max(...steps) - Math.min(...steps) < 1e-6 * Math.abs(high - low) + 1e-12);
  }
});

test("an axis of one value still has marks", () => {
  assert.ok(ticks(2, 2, 4).length >= 1);
});
