// Builds elements. Text is always set as text, never as markup, so nothing in the API description can run.

let lastNumber = 0;

/** Return an element. Attributes named `on…` are listeners; null, undefined and false attributes are left out. */
export function element(name, attributes = {}, ...children) {
  const built = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key.startsWith("on")) built.addEventListener(key.slice(2), value);
    else if (value === true) built.setAttribute(key, "");
    else if (value !== null && value !== undefined && value !== false) built.setAttribute(key, value);
  }
  built.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return built;
}

/** Return an id that no other element of the page has. */
export function newId(prefix) {
  lastNumber += 1;
  return `docs-${prefix}-${lastNumber}`;
}

/**
 * Return a button that shows and hides a region. `fill` builds the region's content when it is first shown, so large
 * and recursive schemas cost nothing until somebody opens them.
 */
export function disclosure(label, fill, { className = "more", onToggle = () => {} } = {}) {
  const region = element("div", { id: newId("region"), class: "region", hidden: true });
  const button = element(
    "button",
    { type: "button", class: `disclosure ${className}`, "aria-expanded": "false", "aria-controls": region.id },
    label,
  );
  const set = (open) => {
    if (open && !region.hasChildNodes()) region.append(...[fill()].flat());
    button.setAttribute("aria-expanded", String(open));
    region.hidden = !open;
  };
  button.addEventListener("click", () => {
    set(region.hidden);
    onToggle(!region.hidden);
  });
  return { button, region, open: () => set(true), close: () => set(false) };
}
