// SPDX-License-Identifier: Apache-2.0
// The words of a transcript: by speaker and time, with search, jumps, marks, copies and downloads.

import { asSrt, asText, asVtt } from "./captions.js";
import { el, fill, section, table } from "./dom.js";
import { clock, count, secondsOf } from "./format.js";
import { LOW_CONFIDENCE, list, rowAtTime, rowsOf, search, startOf } from "./transcript_model.js";
import { VirtualList } from "./virtual_list.js";

/** What stands in the place of redacted text: [PERSON_NAME], or #### */
const REDACTED = /\[[A-Z][A-Z_]+\]|#{2,}/g;
/** Colours of speakers, in the order in which they speak; then again from the first. */
const COLOURS = 8;
/** Rows of a table; of more, the first are shown. */
const MOST_ROWS = 200;

/**
 * Return the section with the words.
 *
 * @param {object} given
 * @param {Array} given.turns - see transcript_model.js.
 * @param {object|null} given.json - of the service, for chapters and entities; null if there are only turns.
 * @param {string} given.name - of the files to download.
 * @param {HTMLMediaElement|null} given.player - follows the words, and is moved by them.
 */
export function transcriptSection({ turns, json, name, player }) {
  const view = new TranscriptView(turns, player);
  const parts = [view.tools(name), view.box];
  if (json) parts.push(...chapters(json, view), ...entities(json, view));
  // A list needs its box in the document to measure rows.
  requestAnimationFrame(() => view.start());
  return section("Transcript", ...parts);
}

class TranscriptView {
  #found = [];
  #foundIn = new Map();
  #current = -1;
  #active = null;
  #follows = true;

  constructor(turns, player) {
    this.turns = turns;
    this.rows = rowsOf(turns);
    this.player = player;
    const speakers = [...new Set(turns.map((turn) => turn.speaker ?? turn.channel))].filter((one) => one !== null);
    this.colours = new Map(speakers.map((speaker, index) => [speaker, index % COLOURS]));
    this.box = el("div", { class: "words", tabindex: "0", role: "region", "aria-label": "Words of the transcript" });
    this.status = el("span", { class: "found", role: "status" });
  }

  start() {
    const estimate = (index) => {
      const row = this.rows[index];
      return 12 + 24 * Math.ceil(((row.to - row.from) * 8.5) / Math.max(200, this.box.clientWidth)) + (row.first ? 28 : 0);
    };
    this.list = new VirtualList(this.box, this.rows.length, estimate, (index) => this.#row(index));
    this.player?.addEventListener("timeupdate", () => this.#follow(this.player.currentTime * 1000));
  }

  tools(name) {
    const wanted = el("input", {
      type: "search",
      id: "search",
      placeholder: "Find in the transcript",
      input: () => this.#search(wanted.value),
      keydown: (event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        this.#step(event.shiftKey ? -1 : 1);
      },
    });
    const jump = el("input", { type: "text", id: "jump", size: "8", placeholder: "h:mm:ss", inputmode: "numeric" });
    const submit = (event) => {
      event.preventDefault();
      const seconds = secondsOf(jump.value);
      jump.setAttribute("aria-invalid", String(seconds === null));
      if (seconds !== null) this.jump(seconds * 1000);
    };
    const download = (ending, make) =>
      el("button", { type: "button", click: () => save(`${name}.${ending}`, make(this.turns)) }, ending);
    const copied = el("span", { class: "found", role: "status" });
    return el(
      "div",
      { class: "tools" },
      el("label", { for: "search" }, "Find"),
      wanted,
      el("button", { type: "button", "aria-label": "Previous match", click: () => this.#step(-1) }, "↑"),
      el("button", { type: "button", "aria-label": "Next match", click: () => this.#step(1) }, "↓"),
      this.status,
      el(
        "form",
        { class: "jump", submit },
        el("label", { for: "jump" }, "Go to"),
        jump,
        el("button", { type: "submit" }, "Go"),
      ),
      el(
        "span",
        { class: "group", role: "group", "aria-label": "Copy and download" },
        el(
          "button",
          {
            type: "button",
            click: async () => {
              copied.textContent = (await copy(asText(this.turns))) ? "Copied." : "The browser does not allow it.";
            },
          },
          "Copy",
        ),
        download("txt", asText),
        download("srt", asSrt),
        download("vtt", asVtt),
        copied,
      ),
    );
  }

  /** Show the words at a moment of the recording, and play them if there is a player. */
  jump(ms) {
    this.#scrollTo(rowAtTime(this.rows, this.turns, ms));
    if (this.player) this.player.currentTime = ms / 1000;
  }

  #scrollTo(index) {
    this.box.scrollIntoView({ block: "nearest" });
    this.list.show(index);
  }

  #row(index) {
    const row = this.rows[index];
    const turn = this.turns[row.turn];
    const speaker = turn.speaker ?? turn.channel;
    const parts = [];
    if (row.first) {
      const at = startOf(row, this.turns);
      const label = this.player ? `Play from ${clock(at / 1000)}` : `Link to ${clock(at / 1000)}`;
      parts.push(
        el(
          "div",
          { class: "who" },
          el("button", { type: "button", class: "time", "aria-label": label, click: () => this.jump(at) }, clock(at / 1000)),
          speaker === null
            ? null
            : el("span", { class: `speaker colour-${this.colours.get(speaker)}` }, turn.speaker ? `Speaker ${speaker}` : `Channel ${speaker}`),
          turn.sentiment && el("span", { class: `sentiment ${turn.sentiment.toLowerCase().replace(/[^a-z]/g, "")}` }, turn.sentiment.toLowerCase()),
        ),
      );
    }
    parts.push(el("p", { dir: "auto" }, this.#pieces(row, turn)));
    return el("div", {}, parts);
  }

  /** Return the text of a row in pieces: each is marked or not. */
  #pieces(row, turn) {
    const edges = new Set([row.from, row.to]);
    const within = (one) => one.from < row.to && one.to > row.from;
    const marks = [];
    const add = (from, to, mark) => {
      const [begin, end] = [Math.max(from, row.from), Math.min(to, row.to)];
      marks.push({ from: begin, to: end, ...mark });
      edges.add(begin).add(end);
    };
    for (const word of turn.words) {
      if (!within(word)) continue;
      if (word.confidence < LOW_CONFIDENCE) add(word.from, word.to, { name: "low", title: "The service is not sure of this word" });
      if (word === this.#active) add(word.from, word.to, { name: "now" });
    }
    for (const match of turn.text.slice(row.from, row.to).matchAll(REDACTED)) {
      const from = row.from + match.index;
      add(from, from + match[0].length, { name: "redacted", title: "Redacted" });
    }
    for (const match of this.#foundIn.get(row.turn) ?? []) {
      const current = match === this.#found[this.#current];
      if (within(match)) add(match.from, match.to, { name: current ? "match current" : "match" });
    }
    const places = [...edges].sort((one, other) => one - other);
    return places.slice(0, -1).map((from, index) => {
      const to = places[index + 1];
      const over = marks.filter((mark) => mark.from <= from && mark.to >= to);
      const text = turn.text.slice(from, to);
      if (!over.length) return text;
      const title = over.map((mark) => mark.title).find(Boolean);
      const name = over.some((mark) => mark.name.startsWith("match")) ? "mark" : "span";
      return el(name, { class: over.map((mark) => mark.name).join(" "), title }, text);
    });
  }

  #search(text) {
    this.#found = search(this.turns, text);
    this.#foundIn = Map.groupBy(this.#found, (match) => match.turn);
    this.#current = this.#found.length ? 0 : -1;
    this.#show(text);
  }

  #step(by) {
    if (!this.#found.length) return;
    this.#current = (this.#current + by + this.#found.length) % this.#found.length;
    this.#show("…");
  }

  #show(text) {
    const [at, all] = [this.#current + 1, this.#found.length];
    this.status.textContent = all ? `${count(at)} of ${count(all)}` : text.trim() ? "Not found" : "";
    this.list.refresh();
    const match = this.#found[this.#current];
    if (match) this.#scrollTo(this.rows.findIndex((row) => row.turn === match.turn && row.to > match.from));
  }

  /** Mark the word that is played, and keep it in sight. */
  #follow(ms) {
    const index = rowAtTime(this.rows, this.turns, ms);
    const turn = this.turns[this.rows[index].turn];
    const word = turn.words.findLast((one) => one.start !== null && one.start <= ms) ?? null;
    if (word === this.#active) return;
    this.#active = word;
    if (this.#follows && !this.list.node(index)) this.list.show(index);
    this.list.refresh();
  }
}

function chapters(json, view) {
  const found = list(json.chapters).slice(0, MOST_ROWS);
  if (!found.length) return [];
  const items = found.map((chapter) =>
    el(
      "li",
      {},
      el("button", { type: "button", class: "time", click: () => view.jump(chapter.start) }, clock((chapter.start ?? 0) / 1000)),
      " ",
      el("strong", { dir: "auto" }, text(chapter.headline)),
      el("p", { dir: "auto" }, text(chapter.summary)),
    ),
  );
  return [el("h3", {}, "Chapters"), el("ol", { class: "chapters" }, items)];
}

function entities(json, view) {
  const found = list(json.entities);
  if (!found.length) return [];
  const rows = found.slice(0, MOST_ROWS).map((entity) => [
    text(entity.entity_type).replaceAll("_", " "),
    el("span", { dir: "auto" }, text(entity.text)),
    el("button", { type: "button", class: "time", click: () => view.jump(entity.start) }, clock((entity.start ?? 0) / 1000)),
  ]);
  const more = found.length > MOST_ROWS ? `, the first ${MOST_ROWS} of ${count(found.length)}` : "";
  return [el("h3", {}, "Entities"), table(`Entities${more}`, ["Kind", "Text", "At"], rows)];
}

function text(value) {
  return typeof value === "string" ? value : "";
}

function save(name, content) {
  const url = URL.createObjectURL(new Blob([content], { type: "text/plain;charset=utf-8" }));
  const link = el("a", { href: url, download: name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}

async function copy(content) {
  try {
    await navigator.clipboard.writeText(content);
    return true;
  } catch {
    // A page that came over plain HTTP has no clipboard, and this is the older way.
    const area = el("textarea", { class: "offscreen", "aria-hidden": "true" });
    area.value = content;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    return done;
  }
}
