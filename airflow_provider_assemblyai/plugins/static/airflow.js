// SPDX-License-Identifier: Apache-2.0
// Reads Airflow's REST API with the session of the person who looks at the page, and so with that person's rights.

/** An answer that is not what was asked for. */
export class ApiError extends Error {
  constructor(status, message) {
    super(message);
    this.status = status;
  }
}

/** One task instance, as Airflow's API and the routes of this plugin know it. */
export class Task {
  /** @param {URLSearchParams} query - of the page: dag_id, run_id, task_id, map_index, kind. */
  constructor(query) {
    this.dagId = query.get("dag_id") ?? "";
    this.runId = query.get("run_id") ?? "";
    this.taskId = query.get("task_id") ?? "";
    const index = Number(query.get("map_index") ?? "-1");
    this.mapIndex = Number.isInteger(index) ? index : -1;
    this.kind = query.get("kind") ?? "";
    // The page is at <prefix>/assemblyai/task, whatever the prefix of the deployment is.
    this.own = new URL("./", window.location.href);
    this.root = new URL("../", this.own);
  }

  get isMapped() {
    return this.mapIndex >= 0;
  }

  /** The task in Airflow's own pages. */
  get page() {
    const mapped = this.isMapped ? `/mapped/${this.mapIndex}` : "";
    const [dag, run, task] = [this.dagId, this.runId, this.taskId].map(encodeURIComponent);
    return new URL(`dags/${dag}/runs/${run}/tasks/${task}${mapped}`, this.root).href;
  }

  /** Return the task instance. */
  instance() {
    return this.#get(this.isMapped ? `/${this.mapIndex}` : "");
  }

  /** Return the value of an XCom; null if there is none. */
  async xcom(key) {
    try {
      const entry = await this.#get(`/xcomEntries/${encodeURIComponent(key)}?map_index=${this.mapIndex}`);
      return entry.value ?? null;
    } catch (error) {
      if (error instanceof ApiError && error.status === 404) return null;
      throw error;
    }
  }

  /** Return the lines of the log of a try, oldest first, each with `event` and `timestamp`. */
  async log(tryNumber) {
    if (!tryNumber) return [];
    const answer = await this.#get(`/logs/${tryNumber}?map_index=${this.mapIndex}&full_content=true`);
    const lines = Array.isArray(answer.content) ? answer.content : [];
    return lines
      .map((line) => (typeof line === "string" ? { event: line } : line))
      .filter((line) => line && typeof line.event === "string");
  }

  /** Return what the deployment's reader route holds of this task: a transcript, or the failures of a batch. */
  read(what) {
    const url = new URL(what, this.own);
    url.search = new URLSearchParams({
      dag_id: this.dagId,
      run_id: this.runId,
      task_id: this.taskId,
      map_index: String(this.mapIndex),
    });
    return readJson(url);
  }

  #get(path) {
    const [dag, run, task] = [this.dagId, this.runId, this.taskId].map(encodeURIComponent);
    return readJson(new URL(`api/v2/dags/${dag}/dagRuns/${run}/taskInstances/${task}${path}`, this.root));
  }
}

/** Return what a URL of this host answers. */
async function readJson(url) {
  const answer = await fetch(url, { credentials: "same-origin", headers: { Accept: "application/json" } });
  const text = await answer.text();
  let body = null;
  try {
    body = JSON.parse(text);
  } catch {
    body = null;
  }
  if (!answer.ok) {
    const detail = body && typeof body.detail === "string" ? body.detail : answer.statusText;
    throw new ApiError(answer.status, detail || `HTTP ${answer.status}`);
  }
  if (body === null) throw new ApiError(answer.status, "The answer is not JSON.");
  return body;
}
