// SPDX-License-Identifier: Apache-2.0
// What the page shows of each kind of task, beside the words of a transcript.

import { bar, el, facts, section, table } from "./dom.js";
import { clock, count, dollars, duration, isNumber, moment, percent } from "./format.js";
import { batchProgress, captureProgress, gatewayProgress, processingSince } from "./progress.js";
import { list } from "./transcript_model.js";

/** Failures of a batch that are shown at once. */
const MOST_FAILURES = 500;
const WAITING = new Set(["deferred", "running", "queued", "scheduled", "up_for_retry", "restarting"]);

/** Tell whether a task instance may still change. */
export function isOpen(instance) {
  return instance.state === null || instance.state === undefined || WAITING.has(instance.state);
}

/** Return the summary of a transcript, and what became of it when. */
export function transcriptFacts(found) {
  const { summary, transcriptId, timeline } = found;
  const minutes = summary && isNumber(summary.audio_duration) ? summary.audio_duration / 60 : null;
  return [
    section(
      "Summary",
      facts([
        ["Transcript id", transcriptId && el("code", {}, transcriptId)],
        ["Status", summary?.status ?? statusOf(found)],
        ["Region", summary?.region ?? timeline?.region],
        ["Model", summary?.speech_model_used],
        ["Language", summary?.language_code],
        ["Duration", summary && duration(summary.audio_duration)],
        ["Minutes", minutes === null ? null : minutes.toFixed(2)],
        ["Confidence", summary && percent(summary.confidence)],
        ["Estimated cost", summary && dollars(summary.estimated_cost_usd)],
      ]),
    ),
    steps(found),
    warnings(summary),
    files(summary?.outputs),
  ];
}

function statusOf({ instance, timeline, lines }) {
  if (!isOpen(instance)) return instance.state;
  if (timeline?.done_at) return timeline.status;
  return processingSince(lines) ? "processing" : (timeline?.status ?? "not submitted yet");
}

/** Return the steps of a transcript on its way, with their moments. */
function steps({ timeline, instance, lines }) {
  if (!timeline) return null;
  const open = isOpen(instance) && !timeline.done_at;
  // A short job may be done before it was seen to be processed: of what is over only moments are shown.
  const rows = [
    ["Uploaded", timeline.uploaded_at],
    ["Queued", timeline.submitted_at],
    ["Processing", processingSince(lines)],
    ["Done", timeline.done_at],
  ].filter(([name, at]) => at || (open && (name === "Processing" || name === "Done")));
  return section(
    "Timeline",
    el(
      "ol",
      { class: "steps" },
      rows.map(([name, at]) => el("li", { class: at ? "passed" : "open" }, el("strong", {}, name), " ", at ? moment(at) : "waiting")),
    ),
  );
}

/** Return the answer of a model, or what the task waits for. */
export function gatewayFacts(found) {
  const { instance, result, usage, lines, answer } = found;
  const waiting = isOpen(instance) ? gatewayProgress(lines) : null;
  const tokens = usage?.value ?? {};
  return [
    section(
      "Call",
      facts([
        ["Model", usage?.model ?? waiting?.model],
        ["Finish reason", usage?.finish_reason],
        ["Tokens in", count(tokens.input_tokens)],
        ["Tokens out", count(tokens.output_tokens)],
        ["Estimated cost", dollars(tokens.estimated_cost_usd ?? result?.estimated_cost_usd)],
        ["Attempts", count(usage?.attempts)],
        ["Time waited", duration(usage?.waited_seconds)],
        ["Request id", usage?.request_id && el("code", {}, usage.request_id)],
        ["Waiting since", waiting && moment(waiting.at)],
        ["Place in the queue", waiting && count(waiting.place)],
        ["Limit", waiting?.state],
      ]),
    ),
    noAnswer(found) ? section("Answer", el("p", { class: "note" }, "The answer is in the file below.")) : null,
    answer === null ? null : section("Answer", el("pre", { class: "answer", dir: "auto", tabindex: "0" }, shown(answer))),
    warnings(result),
    files(outputsOf(result)),
  ];
}

function noAnswer({ instance, answer, result }) {
  return !isOpen(instance) && answer === null && outputsOf(result) !== null;
}

function shown(answer) {
  return typeof answer === "string" ? answer : JSON.stringify(answer, null, 2);
}

function outputsOf(result) {
  if (!result || typeof result !== "object") return null;
  return result.outputs ?? (typeof result.output === "string" ? { answer: result.output } : null);
}

/** Return the progress of a batch, its counts, and its failures. */
export function batchFacts(found) {
  const { instance, summary, progress, lines, failures } = found;
  const now = isOpen(instance) ? batchProgress(lines) : null;
  const done = summary ?? counted(progress, now);
  return [
    section(
      "Progress",
      done.items ? bar("Items that are done", done.completed + done.failed + (done.not_submitted ?? 0), done.items) : null,
      facts([
        ["Items", count(done.items)],
        ["Completed", count(done.completed)],
        ["Failed", count(done.failed)],
        ["Not submitted", done.not_submitted ? count(done.not_submitted) : null],
        ["Re-used", summary ? count(summary.reused) : null],
        ["In flight", now && count(now.inFlight)],
        ["Items a minute", done.rate ? done.rate.toFixed(1) : null],
        ["Time left, about", done.left ? duration(done.left) : null],
        ["Minutes billed", summary && isNumber(summary.minutes?.billed) ? summary.minutes.billed.toFixed(2) : null],
        ["Region", summary?.region],
        ["Estimated cost", summary && dollars(summary.estimated_cost_usd)],
        ["As of", now && moment(now.at)],
      ]),
    ),
    failed(summary, failures),
    summary?.manifest ? files({ manifest: summary.manifest }) : null,
  ];
}

/** Return what the worker has counted, and what has ended since then. */
function counted(progress, now) {
  if (!progress) return { items: 0, completed: 0, failed: 0 };
  const ended = now ? now.ended : 0;
  const completed = progress.found + progress.completed + ended;
  const done = completed + progress.failed;
  const seconds = now?.at ? new Date(now.at) / 1000 - progress.started_at : 0;
  const rate = seconds > 0 ? ((done - progress.found) / seconds) * 60 : 0;
  const left = rate > 0 ? ((progress.items - done) / rate) * 60 : null;
  return { items: progress.items, completed, failed: progress.failed, rate, left };
}

function failed(summary, failures) {
  const classes = Object.entries(summary?.errors ?? {});
  if (!classes.length && !failures?.rows?.length) return null;
  const parts = [];
  if (classes.length) parts.push(table("Failures by class", ["Error", "Items"], classes.map(([name, items]) => [name, count(items)])));
  if (failures?.rows?.length) parts.push(...failureTable(failures));
  else parts.push(el("p", { class: "note" }, "The manifest names every item and its reason."));
  return section("Failures", ...parts);
}

function failureTable(failures) {
  const rows = list(failures.rows);
  const body = el("div", {});
  const filter = el("input", { type: "search", id: "filter", placeholder: "Source, error or id", input: () => show() });
  const status = el("span", { class: "found", role: "status" });
  const show = () => {
    const wanted = filter.value.trim().toLowerCase();
    const kept = rows.filter((row) => [row.source, row.error_class, row.error, row.transcript_id].some((value) => String(value ?? "").toLowerCase().includes(wanted)));
    status.textContent = `${count(kept.length)} of ${count(rows.length)}${failures.complete ? "" : ", more are in the manifest"}`;
    const cells = kept.slice(0, MOST_FAILURES).map((row) => [
      el("span", { class: "address", dir: "auto" }, String(row.source ?? "")),
      String(row.error_class ?? row.status ?? ""),
      el("span", { dir: "auto" }, String(row.error ?? "")),
      row.transcript_id && el("code", {}, row.transcript_id),
    ]);
    body.replaceChildren(table("Items that are not done", ["Source", "Error", "Reason", "Transcript id"], cells));
  };
  show();
  return [el("div", { class: "tools" }, el("label", { for: "filter" }, "Filter"), filter, status), body];
}

/** Return the progress of a capture while it runs, and its result. */
export function captureFacts(found) {
  const { instance, summary, lines } = found;
  const now = isOpen(instance) ? captureProgress(lines) : null;
  return [
    now &&
      section(
        "Recording",
        bar("Recorded", now.recorded, now.all),
        facts([
          ["Recorded", `${clock(now.recorded)} of ${clock(now.all)}`],
          ["Heard by the service", clock(now.heard)],
          ["Lag", `${now.backlog.toFixed(1)} s`],
          ["Turns", count(now.turns)],
          ["Sessions", count(now.sessions)],
          ["Reconnects", count(now.reconnects)],
          ["Gaps", count(now.gaps)],
          ["As of", moment(now.at)],
        ]),
      ),
    summary &&
      section(
        "Summary",
        facts([
          ["Status", summary.status],
          ["Region", summary.region],
          ["Recorded", duration(summary.captured_seconds)],
          ["Billed", duration(summary.billed_session_seconds)],
          ["Turns", count(summary.turns)],
          ["Words", count(summary.words)],
          ["Sessions", count(summary.session_ids?.length)],
          ["Reconnects", count(summary.reconnects)],
          ["Gaps", count(Array.isArray(summary.gaps) ? summary.gaps.length : summary.gaps)],
          ["Ended by", summary.ended_by],
          ["Estimated cost", dollars(summary.estimated_cost_usd)],
        ]),
      ),
    warnings(summary),
    files(summary?.outputs),
  ];
}

function warnings(summary) {
  const said = Array.isArray(summary?.warnings) ? summary.warnings : [];
  return said.length ? section("Warnings", el("ul", { class: "warnings" }, said.map((one) => el("li", {}, String(one))))) : null;
}

function files(outputs) {
  const known = Object.entries(outputs ?? {}).filter(([, uri]) => typeof uri === "string");
  if (!known.length) return null;
  return section("Files", facts(known.map(([name, uri]) => [name, el("code", { class: "address" }, uri)]), "facts files"));
}
