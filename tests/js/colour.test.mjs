import assert from "node:assert/strict";
import { test } from "node:test";
import { css, luminance, RAMPS, ramp, rgb } from "../../widgets/base/colour.js";

test("a ramp begins and ends in its colours and lies between them elsewhere", () => {
  const grey = ramp(["#000000", "#ffffff"]);
  assert.deepEqual(grey(0), [0, 0, 0]);
  assert.deepEqual(grey(1), [255, 255, 255]);
  assert.equal(css(grey(0.5)), "rgb(128,128,128)");
  assert.deepEqual(grey(-3), grey(0));
  assert.deepEqual(grey(7), grey(1));
});

test("colours are read from their hexadecimal form", () => {
  assert.deepEqual(rgb("#0b61b8"), [11, 97, 184]);
  assert.ok(luminance(rgb("#ffffff")) > 0.999);
});

for (const [theme, { diverging, single }] of Object.entries(RAMPS)) {
  test(`${theme}: the ends of the diverging colours differ from the middle by their lightness`, () => {
    const [low, middle, high] = [0, 0.5, 1].map((t) => luminance(diverging(t)));
    assert.ok(Math.abs(low - middle) > 0.4 && Math.abs(high - middle) > 0.4);
    assert.ok(Math.sign(low - middle) === Math.sign(high - middle));
  });
  test(`${theme}: a larger value is always further from the background`, () => {
    const steps = Array.from({ length: 21 }, (_, i) => luminance(single(i / 20)));
    const rising = steps.at(-1) > steps[0];
    assert.ok(steps.every((v, i) => !i || (rising ? v > steps[i - 1] : v < steps[i - 1])));
  });
}
