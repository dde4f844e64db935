// A job's generated texts: found as the search is typed, rejected over several pages, and the student distilled again without them.
import { ask, call, debounced, Problem, showProblem, uuid } from "./api.js";

const bar = document.getElementById("rejection");
const form = document.getElementById("filter");
const problem = document.getElementById("problem");
const told = document.getElementById("told");
const job = bar.dataset.job, kept = Number(bar.dataset.kept);
const page = `/ui/jobs/${job}/texts`, place = `rejected ${job}`;
const replace = document.getElementById("replace");
const rejected = new Set(remembered());
let asking = null, key = null;

/** What was rejected and not sent yet, in this tab. */
function remembered() {
  try {
    return JSON.parse(sessionStorage.getItem(place)) || [];
  } catch {
    return [];
  }
}

function changed() {
  key = null;
  try {
    if (rejected.size) sessionStorage.setItem(place, JSON.stringify([...rejected]));
    else sessionStorage.removeItem(place);
  } catch {
    // Kept for this page alone, where the browser keeps nothing.
  }
  show();
}

const boxes = () => [...document.querySelectorAll("[data-reject]")];

function show() {
  const ticked = boxes().map((box) => (box.checked = rejected.has(Number(box.dataset.reject))));
  const whole = document.getElementById("reject-page");
  if (whole) {
    whole.disabled = !ticked.length;
    whole.checked = ticked.length > 0 && ticked.every(Boolean);
    whole.indeterminate = ticked.some(Boolean) && !whole.checked;
  }
  bar.hidden = !rejected.size;
  document.getElementById("rejected-count").textContent = rejected.size.toLocaleString("en");
}

function reject(ids, yes) {
  for (const id of ids) yes ? rejected.add(id) : rejected.delete(id);
  changed();
}

/** The form as it stands, and a page of its results; what is empty or usual is left out. */
function query(number = 1) {
  const said = new URLSearchParams();
  for (const [name, value] of new FormData(form)) {
    const usual = { verdict: "kept", order: "id" }[name] || "";
    if (value !== usual) said.set(name, value);
  }
  if (number > 1) said.set("page", number);
  return said.toString();
}

async function find(number = 1, { top = false } = {}) {
  asking?.abort();
  const mine = (asking = new AbortController());
  document.getElementById("results").setAttribute("aria-busy", "true");
  const said = query(number);
  try {
    const answer = await fetch(`${page}/results?${said}`, { signal: mine.signal });
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    const results = fresh.getElementById("results");
    if (!results) throw new Problem(answer.status, { detail: fresh.querySelector("h1")?.textContent, remedy: fresh.querySelector(".remedy")?.textContent });
    document.getElementById("results").replaceWith(results);
    // Also what is on the page is in its address: a reload, or a link sent to somebody, shows the same.
    history.replaceState(null, "", said ? `${page}?${said}` : page);
    showProblem(problem, null);
    told.textContent = document.getElementById("summary").textContent.trim();
    show();
    if (top) document.getElementById("results").scrollIntoView({ block: "start" });
  } catch (error) {
    if (error.name === "AbortError") return;
    document.getElementById("results").removeAttribute("aria-busy");
    showProblem(problem, error instanceof Problem ? error : new Problem(0, { detail: "The service does not answer.", remedy: "Try again in a few seconds." }));
  }
}

async function rejectAll(button) {
  button.disabled = true;
  try {
    const ids = await call("GET", `${page}/ids?${query()}`);
    reject(ids, true);
    told.textContent = `${ids.length.toLocaleString("en")} texts rejected.`;
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    showProblem(problem, error);
  } finally {
    button.disabled = false;
  }
}

async function distilAgain(button) {
  const left = kept - rejected.size;
  document.getElementById("ask-left").textContent = `${rejected.size.toLocaleString("en")} are left out, ${left.toLocaleString("en")} stay.`;
  if ((await ask(document.getElementById("ask-again"))) !== "yes") return;
  button.disabled = true;
  showProblem(problem, null);
  // Kept for another try, so that an answer that was lost on the way starts no second job.
  key ||= uuid();
  try {
    const ids = [...rejected].sort((one, other) => one - other);
    const wanted = { rejected: ids, replace_dataset: replace.checked };
    const made = await call("POST", `/jobs/${job}/distil-again`, { json: wanted, headers: { "Idempotency-Key": key } });
    rejected.clear();
    changed();
    location.assign(`/ui/jobs/${made.id}`);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    // Asked only of whom it concerns; the next try has the box.
    if (error.type.endsWith(":name-taken")) document.getElementById("ask-replace").hidden = false;
    showProblem(problem, error);
    problem.scrollIntoView({ block: "center" });
  } finally {
    button.disabled = false;
  }
}

document.addEventListener("change", (event) => {
  if (event.target.dataset.reject) reject([Number(event.target.dataset.reject)], event.target.checked);
  if (event.target.id === "reject-page") reject(boxes().map((box) => Number(box.dataset.reject)), event.target.checked);
});
document.addEventListener("click", (event) => {
  const link = event.target.closest("a[data-page]");
  if (link && !event.ctrlKey && !event.metaKey && !event.shiftKey) {
    event.preventDefault();
    find(Number(link.dataset.page), { top: true });
  }
  if (event.target.id === "reject-all") rejectAll(event.target);
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  find();
});
const typed = debounced(() => find(), 150);
form.addEventListener("input", () => {
  if (form.checkValidity()) typed();
});
replace.addEventListener("change", () => (key = null));
document.getElementById("unreject").addEventListener("click", () => {
  rejected.clear();
  changed();
});
document.getElementById("again").addEventListener("click", (event) => distilAgain(event.currentTarget));
// A page that the browser kept: its form and its list may be of different times.
addEventListener("pageshow", (event) => {
  if (event.persisted) find();
});
show();
