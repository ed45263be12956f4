// Shows the part of CommonMark that descriptions use: paragraphs, lists, `code`, **strong** and [links](…).

import { element } from "./dom.js";

const INLINE = /`([^`]+)`|\*\*([^*]+)\*\*|\[([^\]]+)\]\(([^)\s]+)\)/g;
const SAFE_LINK = /^(https?:|mailto:|[/#.]|[\w-]+(\.\w+)?([/#?]|$))/i;

/** Return the nodes of one line of text. */
export function inline(text) {
  const nodes = [];
  let end = 0;
  for (const match of text.matchAll(INLINE)) {
    const [whole, code, strong, label, url] = match;
    nodes.push(text.slice(end, match.index));
    if (code) nodes.push(element("code", {}, code));
    else if (strong) nodes.push(element("strong", {}, strong));
    else nodes.push(SAFE_LINK.test(url) ? element("a", { href: url }, label) : label);
    end = match.index + whole.length;
  }
  return [...nodes, text.slice(end)];
}

/** Return the blocks of a text. */
export function blocks(text) {
  return text
    .trim()
    .split(/\n\s*\n/)
    .filter(Boolean)
    .map((block) => (/^[-*] /.test(block) ? list(block) : element("p", {}, inline(block.replaceAll("\n", " ")))));
}

function list(block) {
  const items = block.split(/\n(?=[-*] )/);
  return element("ul", {}, items.map((item) => element("li", {}, inline(item.slice(2).replace(/\s*\n\s*/g, " ")))));
}
