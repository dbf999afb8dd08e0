import assert from "node:assert/strict";
import { test } from "node:test";
import {
  between,
  csvLine,
  largest,
  many,
  number,
  percent,
  share,
  short,
  shorten,
  visible,
} from "../../widgets/base/text.js";

test("every character that cannot be seen gets a sign", () => {
  assert.equal(visible(" a\tb\r\nc\n"), "·a⇥b⏎c⏎");
  assert.equal(visible(""), "∅");
  assert.equal(visible("a\u202eb\u0000"), "a‹202e›b‹0000›");
});

test("a text is shortened by characters, not by halves of them", () => {
  assert.equal(shorten("😀😀😀", 2), "😀…");
  assert.equal(shorten("abc", 3), "abc");
});

test("numbers have three significant digits and a true minus sign", () => {
  assert.deepEqual([-1.2345, 0.01234, 123.456, 123456, 0, -0.00001].map(number), [
    "−1.23",
    "0.012",
    "123.5",
    "1.23e+5",
    "0",
    "−1.00e-5",
  ]);
  assert.deepEqual([null, undefined, Number.NaN].map(number), ["no value", "no value", "no value"]);
  assert.deepEqual([Infinity, -Infinity].map(number), ["∞", "−∞"]);
});

test("shares and chances are in per cent", () => {
  assert.deepEqual([0.5, 0.0123, 0.00001].map(percent), ["50%", "1.2%", "<0.1%"]);
  assert.equal(share(0.256), "25.6 %");
  assert.equal(share(null), "–");
});

test("an interval is there only with both of its ends", () => {
  assert.equal(between(1, 2), "1 to 2");
  assert.equal(between(1, null), "");
  assert.equal(between(-0.1, 0.25, share), "−10 % to 25 %");
});

test("counts are words", () => {
  assert.deepEqual([many(1, "row"), many(2, "row"), many(12345, "row")], ["1 row", "2 rows", "12,345 rows"]);
  assert.equal(short(-1234567), "−1.2e+6");
});

test("a line of CSV keeps quotes and leaves out what is no number", () => {
  assert.equal(csvLine(['say "hi"', 1.5, Number.NaN]), '"say ""hi""",1.5,\r\n');
});

test("the largest size is of finite values", () => {
  assert.equal(largest([-3, 2, Number.NaN, Infinity]), 3);
  assert.equal(largest([]), 0);
});
