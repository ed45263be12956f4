// What tests ask a page of the console: which texts nobody can read, and what can be reached and pressed.

window.checks = (() => {
  const TURNS = /[\u0590-\u05ff\u200e\u200f\u202a-\u202e\u2066-\u2069]/; // text from right to left, and marks
  const INTERACTIVE = "a[href], button, input, select, textarea, summary, [tabindex]:not([tabindex='-1'])";
  const isVisible = (element) => element.checkVisibility({ visibilityProperty: true });
  const wait = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
  const start = (text) => text.trim().slice(0, 60);
  const reached = new Set(); // by Tab
  const unseen = []; // elements with the focus that do not show it

  function textNodes() {
    const found = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    for (let node = walker.nextNode(); node; node = walker.nextNode()) if (node.data.trim()) found.push(node);
    return found;
  }

  // The part of a text's box that is painted, and whether more of it should be.
  function painted(node, { left, right, top, bottom }) {
    const box = { node, left, right, top, bottom, fits: true };
    let scrolls = false;
    for (let each = node.parentElement; each && each !== document.body; each = each.parentElement) {
      const style = getComputedStyle(each);
      const edge = each.getBoundingClientRect();
      const clips = ["hidden", "clip"].includes(style.overflowX) || /strict|content|paint/.test(style.contain);
      scrolls ||= ["auto", "scroll"].includes(style.overflowX) || ["auto", "scroll"].includes(style.overflowY);
      if (scrolls || clips) {
        const isOut = box.right > edge.right + 1 || box.left < edge.left - 1 || box.bottom > edge.bottom + 3;
        if (isOut && !scrolls && style.textOverflow !== "ellipsis") box.fits = false;
        box.left = Math.max(box.left, edge.left);
        box.right = Math.min(box.right, edge.right);
        box.top = Math.max(box.top, edge.top);
        box.bottom = Math.min(box.bottom, edge.bottom);
      }
    }
    if (box.right > innerWidth + 1 || box.left < -1) box.fits = false;
    return box;
  }

  function boxes() {
    const shown = (node) => !node.parentElement.closest(".unseen, .skip, [aria-hidden=true], option, svg") && isVisible(node.parentElement);
    return textNodes().filter(shown).flatMap((node) => {
      const range = document.createRange();
      range.selectNodeContents(node);
      return [...range.getClientRects()].filter((each) => each.width >= 1).map((each) => painted(node, each));
    });
  }

  // Texts that are cut by a part that neither scrolls nor ends them with dots, and pairs of texts one over the other.
  function unreadable() {
    const all = boxes();
    const bad = all.filter((box) => !box.fits).map(({ node }) => `cut: ${start(node.data)}`);
    const seen = all.filter((box) => box.right > box.left && box.bottom > box.top).sort((one, other) => one.top - other.top);
    for (const [index, one] of seen.entries()) {
      for (let next = index + 1; next < seen.length && seen[next].top < one.bottom - 4; next += 1) {
        const other = seen[next];
        const common = Math.min(one.right, other.right) - Math.max(one.left, other.left);
        if (common > 2 && one.node !== other.node) bad.push(`overlap: ${start(one.node.data)} | ${start(other.node.data)}`);
      }
    }
    return bad.slice(0, 8);
  }

  // Texts with a mark that can turn the direction of what stands beside them.
  function leaks() {
    const isBad = (node) => {
      const parent = node.parentElement;
      if (!TURNS.test(node.data) || ["TEXTAREA", "OPTION"].includes(parent.tagName)) return false;
      return parent.childNodes.length > 1 || /^(normal|embed)$/.test(getComputedStyle(parent).unicodeBidi);
    };
    return textNodes().filter(isBad).map((node) => node.parentElement.outerHTML.slice(0, 120));
  }

  function interactive() {
    return [...document.querySelectorAll(INTERACTIVE)].filter((each) => !each.disabled && isVisible(each));
  }

  document.addEventListener("focusin", ({ target }) => {
    reached.add(target);
    const { outlineStyle, outlineWidth } = getComputedStyle(target);
    const isShown = outlineStyle !== "none" && parseFloat(outlineWidth) >= 1;
    if (target.id !== "main" && !isShown) unseen.push(target.outerHTML.slice(0, 90));
  });

  // Presses what can be pressed, also in dialogs that open; returns the requests that could have changed something.
  async function pressAll() {
    const ask = window.fetch;
    const sent = [];
    window.fetch = (address, options = {}) => {
      const isSafe = ["GET", undefined].includes(options.method) || String(address).startsWith("/console/session");
      if (!isSafe) sent.push(`${options.method} ${address}`);
      return ask(address, options);
    };
    const isFile = (button) => /download|csv|pdf|receipt|print/i.test(button.textContent); // which would be saved
    for (const button of document.querySelectorAll("main button:not(:disabled, .copy)")) {
      if (!button.isConnected || isFile(button)) continue;
      button.click();
      await wait(50);
      for (const dialog of document.querySelectorAll("dialog[open]")) {
        for (const each of dialog.querySelectorAll("button:not(:disabled, .copy)")) { each.click(); await wait(50); }
        dialog.close();
      }
    }
    window.fetch = ask;
    return sent;
  }

  const missed = () => interactive().filter((each) => !reached.has(each)).map((each) => each.outerHTML.slice(0, 90));
  return { leaks, missed, pressAll, unreadable, unseen };
})();
