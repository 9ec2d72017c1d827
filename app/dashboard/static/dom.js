/** The few helpers with which the page is built. Text is only ever set as text. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * @param {string} id
 * @returns {HTMLElement}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`the page has no #${id}`);
  return found;
}

/**
 * Make an element. Properties are set as properties, names with a dash as attributes.
 *
 * @template {keyof HTMLElementTagNameMap} K
 * @param {K} tag
 * @param {Record<string, unknown>} [properties]
 * @param {...(Node | string)} children
 * @returns {HTMLElementTagNameMap[K]}
 */
export function el(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name === "dataset") Object.assign(element.dataset, value);
    else if (name.includes("-") || name === "role") element.setAttribute(name, String(value));
    else Object.assign(element, { [name]: value });
  }
  element.append(...children);
  return element;
}

/**
 * @param {string} tag
 * @param {Record<string, string | number>} [attributes]
 * @param {...Node} children
 * @returns {SVGElement}
 */
export function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, String(value));
  element.append(...children);
  return element;
}

/**
 * The shape that says a tone without colour.
 *
 * @param {import("./types.js").Tone} tone
 * @returns {SVGElement}
 */
export function shape(tone) {
  const use = svg("use", { href: `#shape-${tone}` });
  return svg("svg", { class: "shape", "data-tone": tone, "aria-hidden": "true" }, use);
}

/**
 * @param {SVGElement} element made by `shape`
 * @param {import("./types.js").Tone} tone
 */
export function setShape(element, tone) {
  if (element.getAttribute("data-tone") === tone) return;
  element.setAttribute("data-tone", tone);
  element.firstElementChild?.setAttribute("href", `#shape-${tone}`);
}

/**
 * Touch the document only where something changed.
 *
 * @param {Node} node
 * @param {string} text
 */
export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

/**
 * Make `parent` have exactly `children`, in this order, and move only what stands elsewhere.
 *
 * @param {Element} parent
 * @param {Element[]} children
 */
export function arrange(parent, children) {
  let next = parent.firstElementChild;
  for (const child of children) {
    if (child === next) next = next.nextElementSibling;
    else parent.insertBefore(child, next);
  }
  while (next) {
    const gone = next;
    next = next.nextElementSibling;
    gone.remove();
  }
}
