import assert from "node:assert/strict";
import { test } from "node:test";
import { measuresCsv } from "../../widgets/diffusion_bench/measures.js";
import { readState } from "../../widgets/diffusion_bench/pictures.js";

const INFO = { seeds: [10, 11], frames: [2, 4], measure: "background correlation" };

/** A state of one caption, two seeds and two frames; only the last frame has values. */
const state = (copied) =>
  readState(
    { memorised: "set", status: "ready", sizes: [0, 0, 0, 0], values: [null, null, 0.5, -0.25], copied },
    1,
    2,
    2,
  );

test("every value is a line with its caption, state, seed and step; what has none on the way is left out", () => {
  const states = { before: state([true, false]), after: state([]) };
  const text = measuresCsv(states, (name) => name in states, {
    info: INFO,
    captions: ['a "b"'],
    chosen: new Set([0]),
  });
  assert.deepEqual(text.trimEnd().split("\r\n"), [
    '"caption","located_on","state","seed","step","measure","value","copy"',
    '"a ""b""","true","before",10,4,"background correlation",0.5,"true"',
    '"a ""b""","true","before",11,4,"background correlation",-0.25,"false"',
    '"a ""b""","true","after",10,4,"background correlation",0.5,""',
    '"a ""b""","true","after",11,4,"background correlation",-0.25,""',
  ]);
});

test("a state that is not of the question is left out", () => {
  const states = { before: state([]), after: state([]) };
  const asked = { info: INFO, captions: ["a"], chosen: new Set() };
  const text = measuresCsv(states, (name) => name === "before", asked);
  assert.equal(text.split("\r\n").length, 4);
  assert.ok(!text.includes('"after"') && text.includes('"a","false","before"'));
});
