// SPDX-License-Identifier: Apache-2.0
// Text files and subtitles, made of the turns that the page shows.

/** Characters and milliseconds that one caption may have. */
const CHARACTERS = 84;
const LONGEST_MS = 7000;

/** Return the plain text, one paragraph for each turn. */
export function asText(turns) {
  return `${turns.map((turn) => (turn.speaker ? `${turn.speaker}: ${turn.text}` : turn.text)).join("\n\n")}\n`;
}

/** Return SubRip subtitles. */
export function asSrt(turns) {
  const blocks = cues(turns).map(
    (cue, index) => `${index + 1}\n${stamp(cue.start, ",")} --> ${stamp(cue.end, ",")}\n${cue.text}\n`,
  );
  return blocks.join("\n");
}

/** Return WebVTT subtitles. */
export function asVtt(turns) {
  const blocks = cues(turns).map(
    (cue) => `${stamp(cue.start, ".")} --> ${stamp(cue.end, ".")}\n${escaped(cue.text)}\n`,
  );
  return `WEBVTT\n\n${blocks.join("\n")}`;
}

/** Return the captions of turns: start and end (ms) and text in one line. */
export function cues(turns) {
  return turns.flatMap((turn) => {
    const made = [];
    let cue = null;
    for (const piece of pieces(turn)) {
      const grown = cue && `${cue.text} ${piece.text}`;
      if (!cue || grown.length > CHARACTERS || piece.end - cue.start > LONGEST_MS) {
        cue = { ...piece };
        made.push(cue);
      } else {
        cue.text = grown;
        cue.end = piece.end;
      }
    }
    return made;
  });
}

/** Return the words of a turn with their times: the service's, or their share of the turn's. */
function pieces(turn) {
  const length = Math.max(1, turn.text.length);
  const share = (place) => turn.start + ((turn.end - turn.start) * place) / length;
  const known = new Map(turn.words.filter((word) => word.start !== null).map((word) => [word.from, word]));
  return [...turn.text.matchAll(/\S+/g)].map((match) => {
    const word = known.get(match.index);
    return {
      text: match[0],
      start: word?.start ?? share(match.index),
      end: word?.end ?? share(match.index + match[0].length),
    };
  });
}

function stamp(ms, separator) {
  const whole = Math.max(0, Math.round(ms));
  const part = (size, most, digits) => String(Math.floor(whole / size) % most).padStart(digits, "0");
  const hours = String(Math.floor(whole / 3600000)).padStart(2, "0");
  return `${hours}:${part(60000, 60, 2)}:${part(1000, 60, 2)}${separator}${part(1, 1000, 3)}`;
}

// In WebVTT these begin a tag, an entity, or look like the line of times.
function escaped(text) {
  return text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
}
