// SPDX-License-Identifier: Apache-2.0
// The page of one task: what it reads, in which order, and how often.

import { ApiError, Task } from "./airflow.js";
import { el, fill, section } from "./dom.js";
import { playerFor } from "./player.js";
import { turnsOfJson, turnsOfXCom } from "./transcript_model.js";
import { transcriptSection } from "./transcript_view.js";
import { batchFacts, captureFacts, gatewayFacts, isOpen, transcriptFacts } from "./views.js";

/** Milliseconds between two looks at a task that goes on. */
const REFRESH = 5000;

const settings = JSON.parse(document.getElementById("settings").content || "{}");
const task = new Task(new URLSearchParams(window.location.search));
const main = document.getElementById("main");
const KINDS = {
  transcript: showTranscript,
  capture: showCapture,
  gateway: showGateway,
  batch: showBatch,
};

/** Words do not change any more, and a reader must not lose their place: they are made once. */
let words = null;

async function show() {
  const instance = await task.instance();
  heading(instance);
  const open = isOpen(instance);
  // Only of a transcript the lines say something that is not in the result: when the service began with it.
  const told = open || task.kind === "transcript";
  const lines = told ? await optional(() => task.log(instance.try_number), []) : [];
  const parts = await (KINDS[task.kind] ?? showTranscript)({ instance, lines });
  words ??= open ? null : await wordsOf(parts.source);
  fill(main, ...parts.facts, ...(words ?? []));
  if (open) setTimeout(run, REFRESH);
}

async function showTranscript({ instance, lines }) {
  const [summary, id, timeline] = await Promise.all([task.xcom("return_value"), task.xcom("transcript_id"), task.xcom("timeline")]);
  const known = isRecord(summary) ? summary : null;
  const transcriptId = known?.transcript_id ?? (typeof id === "string" ? id : null);
  return { facts: transcriptFacts({ instance, lines, summary: known, transcriptId, timeline: isRecord(timeline) ? timeline : null }), source: known };
}

async function showCapture({ instance, lines }) {
  const summary = await task.xcom("return_value");
  const known = isRecord(summary) ? summary : null;
  return { facts: captureFacts({ instance, lines, summary: known }), source: known };
}

async function showGateway({ instance, lines }) {
  const keys = ["return_value", "usage", "model", "finish_reason", "request_id", "attempts", "waited_seconds"];
  const [result, value, model, finish_reason, request_id, attempts, waited_seconds] = await Promise.all(keys.map((key) => task.xcom(key)));
  const usage = { value: isRecord(value) ? value : {}, model, finish_reason, request_id, attempts, waited_seconds };
  const answer = answerOf(result) ?? (await writtenAnswer(result));
  return { facts: gatewayFacts({ instance, lines, result, usage, answer }), source: null };
}

/** Return the answer that a task has only written to a file, if the deployment lets this page read it. */
async function writtenAnswer(result) {
  if (!settings.reads || !isRecord(result) || typeof result.output !== "string") return null;
  const read = await optional(() => task.read("answer"), null);
  return read?.answer ?? null;
}

async function showBatch({ instance, lines }) {
  const [returned, pushed, progress] = await Promise.all([task.xcom("return_value"), task.xcom("summary"), task.xcom("progress")]);
  const summary = [returned, pushed].find(isRecord) ?? null;
  const readable = settings.reads && summary && summary.failed + summary.not_submitted > 0;
  const failures = readable ? await optional(() => task.read("failures"), null) : null;
  return { facts: batchFacts({ instance, lines, summary, progress: isRecord(progress) ? progress : null, failures }), source: null };
}

/** Return what there is of the words, or why there is nothing: by the reader route, by XCom, or in the files. */
async function wordsOf(summary) {
  if (!summary) return null;
  const name = summary.transcript_id ?? task.taskId;
  let refused = null;
  if (settings.reads && summary.outputs?.json) {
    try {
      const json = await task.read("transcript");
      const player = playerFor(json, settings.media_hosts ?? []);
      return [player && section("Recording", player), transcriptSection({ turns: turnsOfJson(json), json, name, player })];
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      refused = error.message;
    }
  }
  const pushed = await task.xcom("utterances");
  const turns = turnsOfXCom(pushed);
  if (turns.length) return [transcriptSection({ turns, json: null, name, player: null })];
  if (typeof summary.text === "string" && summary.text) {
    return [transcriptSection({ turns: turnsOfJson({ text: summary.text }), json: null, name, player: null })];
  }
  const written = Object.keys(summary.outputs ?? {}).length > 0;
  const where = written ? "The words are in the files above." : "The words were neither written to files nor pushed.";
  return [section("Transcript", el("p", { class: "note" }, `${where} ${refused ?? ""}`.trim()))];
}

function answerOf(result) {
  if (isRecord(result) && "output" in result && "answer" in result) return result.answer;
  return isRecord(result) && "features" in result ? (result.result ?? null) : result;
}

function heading(instance) {
  const index = task.isMapped ? ` [${task.mapIndex}]` : "";
  document.title = `${task.taskId}${index} · AssemblyAI`;
  fill(
    document.getElementById("heading"),
    el("p", { class: "crumbs" }, el("a", { href: task.page }, `${task.dagId} › ${task.runId} › ${task.taskId}${index}`)),
    el("h1", {}, `${task.taskId}${index}`),
    el("p", {}, el("span", { class: `state ${instance.state ?? "none"}` }, String(instance.state ?? "no status").replaceAll("_", " ")), ` try ${instance.try_number}`),
  );
}

/** Return what a reading gives, or something else where this person may not read it, or it is not there. */
async function optional(read, otherwise) {
  try {
    return await read();
  } catch (error) {
    if (error instanceof ApiError) return otherwise;
    throw error;
  }
}

function isRecord(value) {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

async function run() {
  try {
    await show();
  } catch (error) {
    const known = error instanceof ApiError;
    const why = known && error.status === 401 ? "Log in to Airflow, and open this page again." : known && error.status === 403 ? "You have no right to see this task." : `It cannot be shown: ${error.message}`;
    fill(main, el("p", { class: "problem", role: "alert" }, why));
    // A server that is away for a moment is no reason to stop.
    if (!known || error.status >= 500) setTimeout(run, REFRESH);
  }
}

run();
