// SPDX-License-Identifier: Apache-2.0
// Numbers and moments as people read them.

/** Return seconds as h:mm:ss, or as m:ss below an hour. */
export function clock(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  const two = (number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** Return the seconds of "1:02:03", "2:03" or "3"; null for anything else. */
export function secondsOf(text) {
  const parts = text.trim().split(":");
  if (parts.length > 3 || !parts.every((part) => /^\d+(\.\d+)?$/.test(part))) return null;
  return parts.reduce((sum, part) => sum * 60 + Number(part), 0);
}

/** Return how long something takes, such as "1 h 2 min". */
export function duration(seconds) {
  if (!isNumber(seconds)) return null;
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

/** Return an estimate in dollars. */
export function dollars(cost) {
  return isNumber(cost) ? `${cost.toFixed(cost && cost < 0.01 ? 6 : 4)} USD (estimated by list price)` : null;
}

/** Return a share of one as a percentage. */
export function percent(share) {
  return isNumber(share) ? `${(share * 100).toFixed(1)} %` : null;
}

/** Return a number with separators. */
export function count(number) {
  return isNumber(number) ? number.toLocaleString("en-US") : null;
}

/** Return a moment, ISO text or seconds since the epoch, in the reader's own time zone. */
export function moment(given) {
  const at = given ? new Date(isNumber(given) ? given * 1000 : given) : null;
  return at && !Number.isNaN(at.getTime()) ? at.toLocaleString() : null;
}

/** Tell whether a value is a number that can be shown. */
export function isNumber(value) {
  return typeof value === "number" && Number.isFinite(value);
}
