// SPDX-License-Identifier: Apache-2.0
// A list of any length of which only what is seen is in the document.

/** Rows beyond the edges that are there all the same, so that scrolling shows no gap. */
const OVERSCAN = 6;
/** Measured heights can move rows in and out of sight: how often that is looked at in one go. */
const ROUNDS = 4;

export class VirtualList {
  #heights;
  #offsets;
  #stale = 0;
  #nodes = new Map();
  #frame = 0;
  #keep = null;

  /**
   * @param {HTMLElement} box - scrolls; it has a height of its own.
   * @param {number} size - rows.
   * @param {(index: number) => number} estimate - of a row's height in pixels.
   * @param {(index: number) => HTMLElement} render - makes a row.
   */
  constructor(box, size, estimate, render) {
    this.box = box;
    this.size = size;
    this.render = render;
    this.space = document.createElement("div");
    this.space.className = "space";
    this.space.setAttribute("role", "list");
    box.replaceChildren(this.space);
    this.#heights = Float64Array.from({ length: size }, (_, index) => estimate(index));
    this.#offsets = new Float64Array(size + 1);
    box.addEventListener("scroll", () => this.#schedule(), { passive: true });
    box.addEventListener("keydown", (event) => this.#onKey(event));
    new ResizeObserver(() => this.#remeasure()).observe(box);
    this.update();
  }

  /** Return the row at the upper edge. */
  get first() {
    return this.#rowAt(this.box.scrollTop);
  }

  /** Scroll until a row is at the upper third of the box. */
  show(index) {
    const at = this.#keep = Math.min(Math.max(0, index), this.size - 1);
    // Rows on the way are only estimated: they are measured there, and looked at again.
    for (let round = 0; round < ROUNDS; round += 1) {
      this.box.scrollTop = this.#offset(at) - this.box.clientHeight / 3;
      this.update();
    }
    this.#keep = null;
  }

  /** Make the rows anew that are in the document. */
  refresh() {
    for (const node of this.#nodes.values()) node.remove();
    this.#nodes.clear();
    this.update();
  }

  /** Return the node of a row, if it is in the document. */
  node(index) {
    return this.#nodes.get(index) ?? null;
  }

  /** Put what is seen into the document, and take the rest out. */
  update() {
    for (let round = 0; round < ROUNDS; round += 1) {
      const top = this.box.scrollTop;
      const first = Math.max(0, this.#rowAt(top) - OVERSCAN);
      const last = Math.min(this.size - 1, this.#rowAt(top + this.box.clientHeight) + OVERSCAN);
      for (const [index, node] of this.#nodes) {
        if (index < first || index > last) {
          node.remove();
          this.#nodes.delete(index);
        }
      }
      const added = [];
      for (let index = first; index <= last; index += 1) {
        if (!this.#nodes.has(index)) {
          const node = this.render(index);
          node.classList.add("row");
          node.setAttribute("role", "listitem");
          node.setAttribute("aria-setsize", String(this.size));
          node.setAttribute("aria-posinset", String(index + 1));
          this.#nodes.set(index, node);
          this.space.append(node);
          added.push(index);
        }
      }
      if (!this.#measure(added)) break;
    }
    this.#order();
  }

  /** Go to the very end: the browser's own way there ends where the end was before rows on the way were measured. */
  #onKey(event) {
    if (event.key !== "End" || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    for (let round = 0; round < ROUNDS; round += 1) {
      this.box.scrollTop = this.box.scrollHeight;
      this.update();
    }
  }

  #schedule() {
    this.#frame ||= requestAnimationFrame(() => {
      this.#frame = 0;
      this.update();
    });
  }

  #remeasure() {
    const first = this.first;
    this.#measure([...this.#nodes.keys()]);
    this.update();
    // After a change of width all rows above have other heights than they had.
    if (this.first !== first) this.show(first);
  }

  /** Take the heights of rows, and keep the row at the upper edge where it is, or the end of the list at the lower one. */
  #measure(indexes) {
    const atEnd = this.box.scrollTop > 0 && this.box.scrollTop + this.box.clientHeight >= this.box.scrollHeight - 1;
    const anchor = this.#keep ?? this.first;
    const before = this.#offset(anchor);
    let changed = false;
    for (const index of indexes) {
      const height = this.#nodes.get(index).offsetHeight;
      if (Math.abs(height - this.#heights[index]) > 0.5) {
        this.#heights[index] = height;
        this.#stale = Math.min(this.#stale, index);
        changed = true;
      }
    }
    const moved = this.#offset(anchor) - before;
    this.#place();
    if (atEnd && this.#keep === null) this.box.scrollTop = this.box.scrollHeight;
    else if (moved) this.box.scrollTop += moved;
    return changed;
  }

  #place() {
    this.space.style.height = `${this.#offset(this.size)}px`;
    for (const [index, node] of this.#nodes) node.style.transform = `translateY(${this.#offset(index)}px)`;
  }

  /** Have the rows in the document in their order, for those who read it and for the keyboard. */
  #order() {
    let previous = null;
    for (const index of [...this.#nodes.keys()].sort((one, other) => one - other)) {
      const node = this.#nodes.get(index);
      const wanted = previous ? previous.nextSibling : this.space.firstChild;
      // A node that is moved loses the focus.
      if (wanted !== node) this.space.insertBefore(node, wanted);
      previous = node;
    }
  }

  #offset(index) {
    if (this.#stale < this.size) {
      for (let row = this.#stale; row < this.size; row += 1) {
        this.#offsets[row + 1] = this.#offsets[row] + this.#heights[row];
      }
      this.#stale = this.size;
    }
    return this.#offsets[index];
  }

  #rowAt(position) {
    let [low, high] = [0, this.size - 1];
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (this.#offset(middle) <= position) low = middle;
      else high = middle - 1;
    }
    return Math.max(0, low);
  }
}
