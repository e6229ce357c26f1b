// SPDX-License-Identifier: Apache-2.0
// One shape for the words of a transcript, wherever they come from.

/** Words that the service is less sure of are marked. */
export const LOW_CONFIDENCE = 0.5;
/** Characters of a row of the page: a turn may be as long as the recording. */
const ROW = 600;
/** Milliseconds of silence, and characters, after which words without speakers become another turn. */
const PAUSE_MS = 1500;
const LONG = 500;

/**
 * Return the turns of the JSON of a transcript, as the service made it.
 *
 * A turn has speaker, channel, start, end (ms), text, sentiment, and words with their place in the text.
 */
export function turnsOfJson(json) {
  const given = list(json.utterances).length ? list(json.utterances) : turnsOfWords(list(json.words), json.text);
  const sentiments = list(json.sentiment_analysis_results).filter((one) => isTime(one.start));
  sentiments.sort((one, other) => one.start - other.start);
  let at = 0;
  return given
    .filter((turn) => typeof turn.text === "string")
    .map((turn) => {
      const made = {
        speaker: named(turn.speaker),
        channel: named(turn.channel),
        start: time(turn.start),
        end: time(turn.end),
        text: turn.text,
        sentiment: null,
        words: placed(turn.text, list(turn.words)),
      };
      const counts = new Map();
      while (at < sentiments.length && sentiments[at].start < made.end) {
        const { sentiment } = sentiments[at];
        if (typeof sentiment === "string") counts.set(sentiment, (counts.get(sentiment) ?? 0) + 1);
        at += 1;
      }
      made.sentiment = [...counts].sort((one, other) => other[1] - one[1])[0]?.[0] ?? null;
      return made;
    });
}

/**
 * Return the turns of the XCom of `push_utterances`: lists of speaker, start and end (ms), text, and the places of
 * words with a low confidence in it.
 */
export function turnsOfXCom(value) {
  return list(value?.utterances)
    .filter((turn) => Array.isArray(turn) && typeof turn[3] === "string")
    .map(([speaker, start, end, text, low]) => ({
      speaker: named(speaker),
      channel: null,
      start: time(start),
      end: time(end),
      text,
      sentiment: null,
      words: list(low)
        .filter((span) => Array.isArray(span) && span.length === 2)
        .map(([from, to]) => ({ from, to, start: null, end: null, confidence: 0 })),
    }));
}

/** Return the rows of turns: pieces of their texts that are short enough to be one element each. */
export function rowsOf(turns) {
  const rows = [];
  turns.forEach((turn, index) => {
    let from = 0;
    do {
      const to = cut(turn.text, from);
      rows.push({ turn: index, from, to, first: from === 0 });
      from = to;
    } while (from < turn.text.length);
  });
  return rows;
}

/** Return the index of the row at a moment, in milliseconds. */
export function rowAtTime(rows, turns, ms) {
  let [low, high] = [0, rows.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (startOf(rows[middle], turns) <= ms) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** Return when a row begins: its first word, or its share of the turn. */
export function startOf(row, turns) {
  const turn = turns[row.turn];
  if (row.first) return turn.start;
  const word = turn.words.find((one) => one.from >= row.from && one.start !== null);
  return word ? word.start : turn.start + ((turn.end - turn.start) * row.from) / turn.text.length;
}

/**
 * Return the places where a text is found, in order: turn, from and to.
 *
 * @param {string} wanted - as it was typed.
 */
export function search(turns, wanted) {
  const text = wanted.trim();
  if (!text) return [];
  const pattern = new RegExp(text.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&").replace(/\s+/g, "\\s+"), "giu");
  const found = [];
  turns.forEach((turn, index) => {
    for (const match of turn.text.matchAll(pattern)) {
      found.push({ turn: index, from: match.index, to: match.index + match[0].length });
    }
  });
  return found;
}

function turnsOfWords(words, text) {
  const known = words.filter((word) => typeof word.text === "string");
  if (!known.length) return typeof text === "string" && text ? [{ text, start: 0, end: 0 }] : [];
  const turns = [];
  let turn = null;
  for (const word of known) {
    const ended = turn && (word.start - turn.end > PAUSE_MS || (turn.length > LONG && /[.?!]$/.test(turn.last)));
    if (!turn || ended || word.speaker !== turn.speaker || word.channel !== turn.channel) {
      turn = { speaker: word.speaker, channel: word.channel, start: word.start, words: [], length: 0 };
      turns.push(turn);
    }
    turn.words.push(word);
    turn.length += word.text.length + 1;
    turn.last = word.text;
    turn.end = word.end;
  }
  return turns.map((made) => ({ ...made, text: made.words.map((word) => word.text).join(" ") }));
}

/** Return the words with their place in the text of their turn; those that are not in it are left out. */
function placed(text, words) {
  const found = [];
  let at = 0;
  for (const word of words) {
    if (typeof word.text !== "string" || !word.text) continue;
    const from = text.indexOf(word.text, at);
    // A word of another spelling must not be looked for in the rest of the recording.
    if (from < 0 || from > at + 200) continue;
    at = from + word.text.length;
    found.push({
      from,
      to: at,
      start: isTime(word.start) ? word.start : null,
      end: isTime(word.end) ? word.end : null,
      confidence: typeof word.confidence === "number" ? word.confidence : 1,
    });
  }
  return found;
}

/** Return where a row that begins at a place ends: before a word where there is one, never within a character. */
function cut(text, from) {
  if (text.length - from <= ROW) return text.length;
  const space = text.lastIndexOf(" ", from + ROW);
  if (space > from) return space + 1;
  const end = from + ROW;
  const code = text.charCodeAt(end - 1);
  return code >= 0xd800 && code <= 0xdbff ? end - 1 : end;
}

export function list(value) {
  return Array.isArray(value) ? value.filter((one) => one !== null && typeof one === "object") : [];
}

function named(value) {
  return typeof value === "string" && value ? value : typeof value === "number" ? String(value) : null;
}

function isTime(value) {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}

function time(value) {
  return isTime(value) ? value : 0;
}
