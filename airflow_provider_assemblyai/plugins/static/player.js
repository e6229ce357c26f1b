// SPDX-License-Identifier: Apache-2.0
// A player for the recording, only for addresses that the deployment allows.

import { el } from "./dom.js";

/**
 * Return an audio element, or null.
 *
 * @param {object} json - of a transcript.
 * @param {Array<string>} hosts - that may be asked for recordings.
 */
export function playerFor(json, hosts) {
  let url;
  try {
    url = new URL(json.audio_url);
  } catch {
    return null;
  }
  // An address with a query may hold a signature, and one with a user a password.
  const plain = !url.search && !url.hash && !url.username && !url.password;
  if (url.protocol !== "https:" || !plain || !hosts.includes(url.host)) return null;
  return el("audio", { controls: true, preload: "none", src: url.href, "aria-label": "Recording" });
}
