// What the tests ask of a page that shows a view. One expression: an object of functions.
(() => {
  const all = (selector) => [...document.querySelectorAll(selector)];
  const cut = (elements) => elements.map((e) => e.outerHTML.slice(0, 120));
  const labels = (e) => [...(e.labels ?? []), e.closest("label")].filter(Boolean);

  /** Elements that a screen reader has no word for. */
  const unnamed = (selector) =>
    cut(
      all(selector).filter(
        (e) =>
          !e.closest("[aria-hidden]") &&
          !e.getAttribute("aria-label") &&
          !labels(e).some((l) => l.textContent.trim()) &&
          !e.textContent.trim() &&
          ![...e.querySelectorAll("img")].some((i) => i.alt.trim()),
      ),
    );

  /** Controls without a label of their own. */
  const unlabelled = () =>
    cut(all("select, input, textarea").filter((e) => !e.getAttribute("aria-label") && !(e.labels ?? []).length));

  /** Elements that reach beyond the view's right edge; those inside `within` scroll there by themselves. */
  const cutOff = ([selector, within]) => {
    const edge = document.querySelector(".mnemoscope").getBoundingClientRect().right + 1;
    return cut(
      all(`.mnemoscope :is(${selector})`).filter(
        (e) =>
          e.getClientRects().length && !(within && e.closest(within)) && e.getBoundingClientRect().right > edge,
      ),
    );
  };

  /** Elements that scroll up and down inside the page. */
  const scrolling = () =>
    cut(
      all(".mnemoscope, .mnemoscope *").filter(
        (e) =>
          ["auto", "scroll"].includes(getComputedStyle(e).overflowY) &&
          e.tagName !== "TEXTAREA" &&
          e.scrollHeight > e.clientHeight + 1,
      ),
    );

  /** The colour of a map's canvas at a point of the page: [r, g, b, a]. */
  const pixel = ([testid, x, y]) => {
    const canvas = document.querySelector(`[data-testid="${testid}"] .mn-stack canvas`),
      box = canvas.getBoundingClientRect(),
      place = (at, from, drawn, seen) => Math.round(((at - from) * drawn) / seen);
    const left = place(x, box.left, canvas.width, box.width),
      top = place(y, box.top, canvas.height, box.height);
    return [...canvas.getContext("2d").getImageData(left, top, 1, 1).data];
  };

  /** Cells of a grid in whose middle the overlay is drawn on, as [row, column] with row 0 at the bottom. */
  const marked = ([rows, columns]) => {
    const canvas = document.querySelector("canvas.mn-overlay"),
      pen = canvas.getContext("2d"),
      found = [];
    for (let r = 0; r < rows; r++)
      for (let k = 0; k < columns; k++) {
        const x = Math.round(((k + 0.5) * canvas.width) / columns),
          y = Math.round(((rows - 1 - r + 0.5) * canvas.height) / rows);
        if (pen.getImageData(x - 1, y - 1, 1, 1).data[3] > 0) found.push([r, k]);
      }
    return found;
  };

  /** Whether anything is drawn on the upper half of the overlay. */
  const upperHalfDrawn = () => {
    const canvas = document.querySelector("canvas.mn-overlay"),
      { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, Math.round(canvas.height / 2) - 4);
    return data.some((v) => v > 0);
  };

  /** Milliseconds that each of 40 moves of the pointer over the map takes. */
  const hoverTimes = () => {
    const canvas = document.querySelector("canvas.mn-overlay"),
      box = canvas.getBoundingClientRect();
    return Array.from({ length: 40 }, (_, i) => {
      const start = performance.now(),
        at = { bubbles: true, clientX: box.left + 5 + 11 * i, clientY: box.top + 5 + 7 * i };
      canvas.dispatchEvent(new MouseEvent("mousemove", at));
      return performance.now() - start;
    });
  };

  /** Contrast ratios (WCAG 2) of texts with the view's background. */
  const contrasts = (selector) => {
    const parse = (c) => c.match(/[\d.]+/g).map(Number),
      linear = (v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4),
      light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b),
      page = parse(getComputedStyle(document.querySelector(".mnemoscope")).backgroundColor);
    return all(selector).map((e) => {
      const [r, g, b, a = 1] = parse(getComputedStyle(e).color),
        ink = light([r, g, b].map((v, i) => v * a + page[i] * (1 - a))) + 0.05,
        paper = light(page) + 0.05;
      return Math.max(ink, paper) / Math.min(ink, paper);
    });
  };
  return {
    unnamed,
    unlabelled,
    cutOff,
    scrolling,
    pixel,
    marked,
    upperHalfDrawn,
    hoverTimes,
    contrasts,
  };
})()
