// SPDX-License-Identifier: Apache-2.0
// Elements, made without HTML: what a recording holds is always text.

/**
 * Return a new element.
 *
 * @param {string} name - of the tag.
 * @param {object} attributes - by name; null and false leave one out, a function listens to the event of its name.
 * @param {...(Node|string|number|null)} children - text becomes text nodes.
 */
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(key, value);
    else element.setAttribute(key, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined).map(asNode));
  return element;
}

function asNode(child) {
  if (child instanceof Node) return child;
  // What a task has pushed may be of any type.
  return document.createTextNode(typeof child === "object" ? JSON.stringify(child) : String(child));
}

/** Return a section with a heading. */
export function section(title, ...children) {
  const id = `section-${title.toLowerCase().replace(/[^a-z]+/g, "-")}`;
  return el("section", { "aria-labelledby": id }, el("h2", { id }, title), ...children);
}

/**
 * Return a list of terms and values; those without a value are left out.
 *
 * @param {Array<[string, Node|string|number|null]>} rows
 * @param {string} name - of its class.
 */
export function facts(rows, name = "facts") {
  const known = rows.filter(([, value]) => value !== null && value !== undefined && value !== "");
  return el(
    "dl",
    { class: name },
    known.map(([term, value]) => el("div", {}, el("dt", {}, term), el("dd", {}, value))),
  );
}

/** Return a table that scrolls by itself where it is too wide. */
export function table(caption, headings, rows) {
  return el(
    "div",
    { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    el(
      "table",
      {},
      el("caption", {}, caption),
      el("thead", {}, el("tr", {}, headings.map((heading) => el("th", { scope: "col" }, heading)))),
      el("tbody", {}, rows.map((row) => el("tr", {}, row.map((cell) => el("td", {}, cell ?? ""))))),
    ),
  );
}

/** Return a bar that is full at `most`. */
export function bar(label, value, most) {
  const share = most > 0 ? Math.min(1, Math.max(0, value / most)) : 0;
  return el(
    "div",
    { class: "bar" },
    el("progress", { max: "1", value: share, "aria-label": label }),
    el("span", { class: "share" }, `${Math.floor(share * 100)} %`),
  );
}

/** Have these children in an element, and leave what is there and looks the same: it may have the focus, or be selected. */
export function fill(element, ...children) {
  const wanted = children.flat().filter((child) => child !== null && child !== undefined);
  const there = [...element.childNodes];
  wanted.forEach((child, index) => {
    if (!there[index]) element.append(child);
    else if (child !== there[index] && !there[index].isEqualNode(child)) there[index].replaceWith(child);
  });
  there.slice(wanted.length).forEach((node) => node.remove());
}
