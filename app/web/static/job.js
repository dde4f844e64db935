// A job's page while it runs: stages, curves, texts and events as they come, and what can be done to it.
import { ask, call, element, Problem, showProblem } from "./api.js";
import { Curves } from "./curves.js";
import { localTimes } from "./site.js";

// EventSource hands over named events by name alone.
const TYPES = [
  "job_queued", "job_cancelling", "job_cancelled", "job_resumed", "job_failed", "job_succeeded", "stage_started", "stage_sharded",
  "stage_succeeded", "stage_retried", "stage_released", "stage_rebuilt", "student_published", "sampled", "metric", "sample",
  "rows_removed",
];
const SAMPLES = 40, EVERY = 1000;
const actions = document.getElementById("actions");
const job = actions.dataset.job;
const problem = document.getElementById("problem");
const announce = document.getElementById("announce");
const connection = document.getElementById("connection");
const curves = new Curves(document.getElementById("curves"));
let source = null, lastId = 0, current = Promise.resolve(), queued = false, pending = 0, timer = 0, status = live().dataset.status;

function live() {
  return document.getElementById("live");
}

const isOpen = () => live().dataset.open === "yes";

/** Puts the part of the page that changes in place of the last one. One at a time; who asks meanwhile gets the next one. */
function refresh() {
  if (!queued) {
    queued = true;
    current = current.then(() => {
      queued = false;
      return renew();
    });
  }
  return current;
}

async function renew() {
  try {
    const answer = await fetch(`/ui/jobs/${job}/live`, { cache: "no-store" });
    if (answer.status === 404) {
      gone();
      return;
    }
    if (!answer.ok) throw new Error(`${answer.status}`);
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("live");
    localTimes(fresh);
    live().replaceWith(fresh);
    connection.hidden = true;
    showActions();
  } catch {
    disconnected();
  }
}

/** Deleted meanwhile, from elsewhere. */
function gone() {
  source?.close();
  clearInterval(timer);
  actions.hidden = true;
  connection.hidden = true;
  showProblem(problem, new Problem(404, { detail: "This job was deleted.", remedy: "The list of jobs shows those there are." }));
}

function showActions() {
  const now = live().dataset.status;
  const stopping = live().dataset.stopping === "yes";
  document.getElementById("cancel").hidden = !["queued", "running"].includes(now);
  const resume = document.getElementById("resume");
  resume.hidden = stopping || !["failed", "cancelled"].includes(now);
  resume.classList.toggle("primary", live().dataset.spec !== "at-fault");
  document.getElementById("delete").hidden = isOpen();
  if (now !== status) announce.textContent = `The job is ${now}.`;
  if (now !== status && now === "succeeded") document.title = `✓ ${document.title}`;
  status = now;
}

function disconnected() {
  connection.hidden = false;
  connection.textContent = "The connection is lost; reconnecting …";
}

function listen() {
  source?.close();
  source = new EventSource(`/jobs/${job}/events?after=${lastId}`);
  for (const type of TYPES) source.addEventListener(type, (message) => took(JSON.parse(message.data)));
  source.onerror = (error) => ended(error.target);
}

/** The service ends the stream with the job; any other end is a lost connection, which the browser opens again from the last event. */
async function ended(closed) {
  await refresh();
  if (closed !== source) return;
  if (!isOpen()) {
    source.close();
    source = null;
    return;
  }
  disconnected();
  // An answer that was no stream, as that of a proxy while the service starts, ends the browser's own attempts.
  if (source.readyState === EventSource.CLOSED) setTimeout(() => closed === source && listen(), 2000);
}

function took(event) {
  if (event.id <= lastId) return;
  lastId = event.id;
  if (event.type === "metric") {
    curves.add(event);
    document.getElementById("curves-part").hidden = curves.isEmpty;
  } else if (event.type === "sample") {
    showSample(event);
  } else {
    log(event);
    if (isOpen() && /_(succeeded|failed|cancelled)$/.test(event.type)) announce.textContent = named(event);
    soon();
  }
}

/** A burst of events is one reason to look. */
function soon() {
  if (!pending) {
    pending = setTimeout(() => {
      pending = 0;
      refresh();
    }, 150);
  }
}

function log(event) {
  const moment = new Date(event.created_at);
  const time = element("time", { title: moment.toLocaleString() }, moment.toLocaleTimeString());
  document.getElementById("log").prepend(element("li", {}, time, element("span", {}, named(event))));
}

/** The message, with the stage's name as the page has it. */
function named({ stage, message }) {
  const shown = stage && live().querySelector(`[data-stage="${stage}"] .stage-name`)?.textContent;
  return shown && message.startsWith(stage) ? shown + message.slice(stage.length) : message;
}

function showSample(event) {
  const list = document.getElementById("samples");
  const label = element("span", { class: "label" }, event.data.label || "");
  list.prepend(element("li", {}, label, element("span", {}, event.message)));
  while (list.children.length > SAMPLES) list.lastElementChild.remove();
  document.getElementById("samples-part").hidden = false;
}

function watch() {
  clearInterval(timer);
  // Progress is no event: it is asked for, while anybody looks.
  timer = setInterval(() => {
    if (isOpen() && document.visibilityState === "visible") refresh();
  }, EVERY);
}

async function act(button, method, path, confirmation) {
  if (confirmation && (await ask(document.getElementById(confirmation))) !== "yes") return false;
  showProblem(problem, null);
  button.disabled = true;
  try {
    await call(method, path);
    return true;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    showProblem(problem, error);
    return false;
  } finally {
    button.disabled = false;
  }
}

document.getElementById("cancel").addEventListener("click", async (event) => {
  if (await act(event.currentTarget, "POST", `/jobs/${job}/cancel`, "ask-cancel")) await refresh();
});
document.getElementById("resume").addEventListener("click", async (event) => {
  if (!(await act(event.currentTarget, "POST", `/jobs/${job}/resume`))) return;
  await refresh();
  listen();
});
document.getElementById("delete").addEventListener("click", async (event) => {
  if (await act(event.currentTarget, "DELETE", `/jobs/${job}`, "ask-delete")) location.assign("/ui/jobs");
});
document.addEventListener("visibilitychange", () => {
  if (document.visibilityState === "visible" && isOpen()) refresh();
});

listen();
watch();
