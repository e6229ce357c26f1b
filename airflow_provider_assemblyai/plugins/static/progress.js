// SPDX-License-Identifier: Apache-2.0
// What the lines that triggers and captures log once a minute say of the progress.

const BATCH = /(\d+) of (\d+) transcripts have ended, (\d+) are in flight\./;
const PROCESSING = /^Transcript \S+ (?:in region \S+ )?is processing\./;
const IN_FLIGHT = /^(\d+) transcripts are in flight\./;
const CAPTURE =
  /(\d+:\d\d:\d\d) of (\d+:\d\d:\d\d) recorded, (\d+:\d\d:\d\d) sent, (\d+:\d\d:\d\d) heard; backlog ([\d.]+) s, turns (\d+), sessions (\d+), reconnects (\d+), gaps (\d+)\./;
const TURN = /(?:Still waiting|Waiting) for a turn at (.+?)(?:, at place (\d+))?: (.+)$/;

/** Return when the service was first seen to process a transcript; null if no line tells. */
export function processingSince(lines) {
  return lines.find((line) => PROCESSING.test(line.event))?.timestamp ?? null;
}

/** Return the progress of a batch: transcripts that ended and are in flight, since when; null if no line tells. */
export function batchProgress(lines) {
  for (const line of lines.toReversed()) {
    let match = BATCH.exec(line.event);
    if (match) return { ended: Number(match[1]), inFlight: Number(match[3]), at: line.timestamp };
    match = IN_FLIGHT.exec(line.event);
    if (match) return { ended: 0, inFlight: Number(match[1]), at: line.timestamp };
  }
  return null;
}

/** Return the progress of a capture, times in seconds; null if no line tells. */
export function captureProgress(lines) {
  for (const line of lines.toReversed()) {
    const match = CAPTURE.exec(line.event);
    if (!match) continue;
    const [recorded, all, sent, heard] = match.slice(1, 5).map(seconds);
    const [backlog, turns, sessions, reconnects, gaps] = match.slice(5, 10).map(Number);
    return { recorded, all, sent, heard, backlog, turns, sessions, reconnects, gaps, at: line.timestamp };
  }
  return null;
}

/** Return what a task waits for at the LLM Gateway; null if no line tells. */
export function gatewayProgress(lines) {
  for (const line of lines.toReversed()) {
    const match = TURN.exec(line.event);
    if (match) return { model: match[1], place: match[2] ? Number(match[2]) : null, state: match[3], at: line.timestamp };
  }
  return null;
}

function seconds(text) {
  return text.split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
}
