// SPDX-License-Identifier: Apache-2.0
// The service's own Node SDK: transcripts, streaming at the pace of its own tests.
"use strict";

const assert = require("node:assert/strict");
const fs = require("node:fs");
const { AssemblyAI } = require("assemblyai");

const URL = process.env.EMULATOR_URL;
const KEY = process.env.EMULATOR_KEY;
const AUDIO_FILE = process.env.AUDIO_FILE;
const AUDIO_URL = "https://example.com/call.wav";
const TEXT = "The snow came early. The shovel was gone.";
const WEBSOCKET_URL = `${URL.replace("http", "ws")}/v3/ws`;

const makeClient = (apiKey) => new AssemblyAI({ apiKey, baseUrl: URL, streamingBaseUrl: URL, syncBaseUrl: URL, llmGatewayBaseUrl: URL });
const client = makeClient(KEY);
const MODEL = "gpt-5";
const MEETING = "The budget meeting decides how the budget is spent. Please send the revised budget by Friday.";
const QUESTION = { model: MODEL, messages: [{ role: "user", content: MEETING }] };
const steps = [];

function step(name, take) {
  steps.push({ name, take });
}

async function emulator(path, body) {
  const sent = body === undefined ? {} : { method: "POST", body: JSON.stringify(body) };
  return (await fetch(`${URL}/_emulator${path}`, sent)).json();
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

step("a file, as path, stream, buffer and data URI", async () => {
  const uri = `data:audio/wav;base64,${fs.readFileSync(AUDIO_FILE, "base64")}`;
  for (const audio of [AUDIO_FILE, fs.createReadStream(AUDIO_FILE), fs.readFileSync(AUDIO_FILE), uri]) {
    const transcript = await client.transcripts.transcribe({ audio }, { pollingInterval: 50 });
    assert.equal(transcript.status, "completed", transcript.error);
    assert.equal(transcript.text, TEXT);
    assert.equal(transcript.audio_duration, 12);
  }
});

step("a URL, words, utterances, subtitles", async () => {
  const wanted = { audio: AUDIO_URL, speaker_labels: true };
  const { id } = await client.transcripts.submit(wanted);
  const transcript = await client.transcripts.waitUntilReady(id, { pollingInterval: 50 });
  assert.equal(transcript.words.map((word) => word.text).join(" "), TEXT);
  assert.ok(transcript.utterances.every((turn) => "AB".includes(turn.speaker)));
  assert.match(await client.transcripts.subtitles(id, "srt", 32), /^1\n00:00:00,000 --> /);
  assert.match(await client.transcripts.subtitles(id, "vtt"), /^WEBVTT/);
  const { sentences } = await client.transcripts.sentences(id);
  assert.equal(sentences.map((sentence) => sentence.text).join(" "), TEXT);
  assert.ok((await client.transcripts.paragraphs(id)).paragraphs.length);
  assert.equal((await client.transcripts.wordSearch(id, ["snow"])).total_count, 1);
});

step("redacted audio", async () => {
  const wanted = { audio: AUDIO_URL, redact_pii: true, redact_pii_audio: true, redact_pii_policies: ["person_name"] };
  const transcript = await client.transcripts.transcribe(wanted, { pollingInterval: 50 });
  // The copy is made after the text; this client does not wait for it by itself.
  let found = await client.transcripts.redactedAudio(transcript.id);
  for (const end = Date.now() + 60_000; !found.status && Date.now() < end; ) {
    await new Promise((resolve) => setTimeout(resolve, 50));
    found = await client.transcripts.redactedAudio(transcript.id);
  }
  const { status, redacted_audio_url } = found;
  assert.equal(status, "redacted_audio_ready");
  assert.match(redacted_audio_url, /^http/);
  assert.ok((await (await client.transcripts.redactedAudioFile(transcript.id)).blob()).size > 0);
});

step("a short clip, whole and live", async () => {
  assert.ok(await client.sync.warm());
  const clip = await client.sync.transcribe(AUDIO_FILE, { timestamps: true });
  assert.equal(clip.text, TEXT);
  assert.equal(clip.words.map((word) => word.text).join(" "), TEXT);
  assert.equal(clip.audio_duration_ms, 12_000);
  const live = await client.sync.transcribeLive(fs.createReadStream(AUDIO_FILE));
  assert.equal(live.text, TEXT);
  await assert.rejects(makeClient("wrong").sync.transcribe(AUDIO_FILE), (error) => error.status === 401);
});

step("list, and deleting", async () => {
  const transcript = await client.transcripts.transcribe({ audio: AUDIO_URL }, { pollingInterval: 50 });
  assert.equal((await client.transcripts.list()).transcripts[0].id, transcript.id);
  assert.equal((await client.transcripts.delete(transcript.id)).audio_url, "http://deleted_by_user");
});

step("a failed transcript", async () => {
  const audio = `${AUDIO_URL}?emulator=error:download`;
  const transcript = await client.transcripts.transcribe({ audio }, { pollingInterval: 50 });
  assert.equal(transcript.status, "error");
  assert.match(transcript.error, /^Download error/);
});

step("a refused key", async () => {
  await assert.rejects(makeClient("wrong").transcripts.submit({ audio: AUDIO_URL }));
});

// 512 ms of sound every 300 ms, for 6 s.
async function stream(access, chunks = 20) {
  const turns = [];
  const errors = [];
  const closed = [];
  let id;
  const transcriber = client.streaming.transcriber({
    ...access,
    websocketBaseUrl: WEBSOCKET_URL,
    sampleRate: 16_000,
    speechModel: "universal-streaming-english",
    formatTurns: true,
    connectTimeout: 60_000,
  });
  transcriber.on("open", (event) => {
    id = event.id;
    assert.deepEqual(Object.keys(event).sort(), ["expires_at", "id", "type"]);
  });
  transcriber.on("turn", (turn) => turns.push(turn));
  transcriber.on("error", (error) => errors.push(error));
  transcriber.on("close", (code, reason) => closed.push([code, reason]));
  await transcriber.connect();
  for (let number = 0; number < chunks && !closed.length; number++) {
    transcriber.sendAudio(new Uint8Array(16 * 1024));
    await pause(300);
  }
  await transcriber.close();
  assert.deepEqual(errors, []);
  assert.ok(id);
  const ended = new Map(turns.filter((turn) => turn.end_of_turn).map((turn) => [turn.turn_order, turn.transcript]));
  assert.equal([...ended.values()].join(" "), TEXT);
  const [session] = await emulator("/sessions");
  assert.equal(session.state, "terminated");
}

step("streaming, 512 ms every 300 ms", () => stream({ apiKey: KEY }));

step("streaming with a token", async () => {
  const limits = { expires_in_seconds: 480, max_session_duration_seconds: 480 };
  await stream({ token: await client.streaming.createTemporaryToken(limits) });
});

step("streaming with a refused key", async () => {
  const transcriber = client.streaming.transcriber({
    apiKey: "wrong",
    websocketBaseUrl: WEBSOCKET_URL,
    sampleRate: 16_000,
    speechModel: "universal-streaming-english",
    connectTimeout: 60_000,
  });
  await assert.rejects(transcriber.connect(), (error) => error.code === 1008);
});

step("chat, structured output, tools", async () => {
  const form = { type: "object", properties: { title: { type: "string" } }, required: ["title"] };
  const tool = { type: "function", function: { name: "note", parameters: form } };
  const answer = async (more) => (await client.llmGateway.chatCompletions({ ...QUESTION, ...more })).choices[0].message;
  assert.ok(MEETING.includes((await answer({})).content));
  const response_format = { type: "json_schema", json_schema: { name: "answer", schema: form } };
  assert.ok(MEETING.includes(JSON.parse((await answer({ response_format })).content).title));
  assert.equal((await answer({ tools: [tool] })).tool_calls[0].function.name, "note");
  assert.ok((await client.llmGateway.listModels()).data.some((model) => model.id === MODEL));
});

step("Speech Understanding", async () => {
  const { id } = await client.transcripts.transcribe({ audio: AUDIO_URL }, { pollingInterval: 50 });
  const speech_understanding = { request: { translation: { target_languages: ["fr"] } } };
  const done = await client.llmGateway.understanding({ transcript_id: id, speech_understanding });
  assert.ok(done.translated_texts.fr);
});

step("a 429", async () => {
  await emulator("/faults", { kind: "rate_limit", path: "/v1/chat/completions" });
  await assert.rejects(client.llmGateway.chatCompletions(QUESTION), (error) => error.status === 429);
  return "an error, the SDK does not retry";
});

(async () => {
  for (const { name, take } of steps) {
    await emulator("/reset", {});
    await emulator("/transcript-text", { text: TEXT });
    const result = { name, remark: null, failure: null };
    try {
      result.remark = (await take()) ?? null;
    } catch (error) {
      result.failure = String(error.stack ?? error);
    }
    console.log(`\nSTEP ${JSON.stringify(result)}`);
  }
  console.log("END");
  process.exit(0);
})();
