// From a dropped file to a running job: checks the rows, asks what the job would take, then starts it.
import { call, debounced, element, Problem, showProblem, uuid } from "./api.js";

const $ = (id) => document.getElementById(id);
const form = $("new");
const presets = [...form.querySelectorAll('input[name="preset"]')].map((input) => input.value);
let file = null, testFile = null, usable = false, nameTouched = false, checks = 0, plan = null, key = uuid();

const chosenPreset = () => form.querySelector('input[name="preset"]:checked').value;

// The file

function take(found) {
  if (!found) return;
  file = found;
  $("drop").classList.add("filled");
  if (!nameTouched) $("name").value = slug(found.name);
  for (const select of ["text_column", "label_column"]) $(select)?.remove();
  check();
}

function slug(filename) {
  const stem = filename.replace(/\.[^.]*$/, "").toLowerCase().normalize("NFKD");
  return stem.replace(/[^a-z0-9_.-]+/g, "-").replace(/^[^a-z0-9]+|[-_.]+$/g, "").slice(0, 63) || "student";
}

function rowsForm() {
  const data = new FormData();
  data.append("file", file, file.name);
  if (testFile) data.append("test_file", testFile, testFile.name);
  for (const name of ["text_column", "label_column"]) if ($(name)?.value) data.append(name, $(name).value);
  return data;
}

async function check() {
  const mine = ++checks;
  usable = false;
  plan?.abort();
  $("checking").textContent = `Checking ${file.name} …`;
  show(false);
  let fresh = null, problem = null;
  try {
    const answer = await fetch("/ui/new/check", { method: "POST", body: rowsForm() });
    fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("check");
    if (!fresh) problem = new Problem(answer.status, {});
  } catch {
    problem = new Problem(0, { detail: "The file could not be sent.", remedy: "See whether the service runs, and whether the file is still there." });
  }
  if (mine !== checks) return;
  if (problem) {
    showProblem($("check-box"), problem);
    $("checking").textContent = "";
    return;
  }
  $("check-box").hidden = false;
  $("check-box").replaceChildren(fresh);
  usable = fresh.dataset.ok === "yes";
  $("checking").textContent = `${file.name}: ${usable ? "the rows can be used." : "the rows cannot be used as they are."}`;
  for (const name of ["text_column", "label_column"]) $(name)?.addEventListener("change", check);
  $("test-part").hidden = false;
  show(usable);
  if (usable) changed();
}

function show(visible) {
  $("options").hidden = !visible;
  $("start-part").hidden = !visible;
}

// What it would take

/** The body of POST /jobs, or null after telling what is wrong with the spec. */
function jobForm(preset) {
  const data = rowsForm();
  data.append("name", $("name").value.trim());
  data.append("preset", preset);
  let spec = {};
  if ($("spec").value.trim()) {
    try {
      spec = JSON.parse($("spec").value);
      if (spec === null || typeof spec !== "object" || Array.isArray(spec)) throw new SyntaxError("it must be an object, as {\"distil\": {...}}");
    } catch (error) {
      fault("spec", `This is not JSON that can be used: ${error.message}`);
      $("advanced").open = true;
      return null;
    }
  }
  if ($("kind").value) spec = { ...spec, distil: { student: $("kind").value, ...spec.distil } };
  data.append("spec", JSON.stringify(spec));
  if (!$("replace-part").hidden && $("replace").checked) data.append("replace_dataset", "true");
  return data;
}

const ask = debounced(estimate, 350);

function changed() {
  key = uuid();
  plan?.abort();
  if (usable) ask();
}

async function estimate() {
  plan?.abort();
  const mine = (plan = new AbortController());
  clearFaults();
  const wanted = chosenPreset();
  for (const preset of [wanted, ...presets.filter((name) => name !== wanted)]) {
    const body = jobForm(preset);
    if (!body) return;
    const minutes = form.querySelector(`[data-minutes="${preset}"]`);
    try {
      const found = await call("POST", "/jobs?dry_run=true", { body, signal: mine.signal });
      minutes.textContent = about(found.totals.seconds);
      if (preset === wanted) showPlan(found);
    } catch (error) {
      if (!(error instanceof Problem)) return;
      minutes.textContent = error.type.endsWith("does-not-fit") ? "does not fit" : "";
      if (preset !== wanted) continue;
      $("estimate").replaceChildren();
      place(error);
      // The same fault would be told of every preset.
      if (!error.type.endsWith("does-not-fit")) return;
    }
  }
}

function about(seconds) {
  if (seconds < 90) return `about ${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `about ${Math.round(seconds / 60)} min`;
  return `about ${(seconds / 3600).toFixed(seconds < 36000 ? 1 : 0)} h`;
}

function bytes(count) {
  return count >= 1e9 ? `${(count / 1e9).toFixed(1)} GB` : `${Math.round(count / 1e6)} MB`;
}

function showPlan(found) {
  $("full-spec").textContent = JSON.stringify(found.spec, null, 2);
  const reused = found.stages.filter((stage) => stage.reused).length;
  const based = found.past_jobs ? `, going by the last ${found.past_jobs === 1 ? "job" : `${found.past_jobs} jobs`} here` : ", a first guess: no job has run here yet";
  const parts = [`${about(found.totals.seconds)}${based}`, `${bytes(found.totals.peak_bytes)} of memory`, `${bytes(found.totals.artefact_bytes)} of room`];
  const list = element("ul", { class: "plan muted" }, ...parts.map((part) => element("li", {}, part)));
  if (reused) list.append(element("li", {}, `${reused} of ${found.stages.length} stages are there already, from an earlier job`));
  $("estimate").replaceChildren(element("p", {}, "It would take"), list);
}

// Faults beside their fields

function fault(field, text) {
  const place = $(`${field}-fault`);
  place.hidden = !text;
  place.textContent = text || "";
  if (text) $(field)?.setAttribute("aria-invalid", "true");
  else $(field)?.removeAttribute("aria-invalid");
}

function clearFaults() {
  for (const field of ["name", "preset", "spec"]) fault(field, "");
  showProblem($("problem"), null);
}

function place(problem) {
  const placed = new Map();
  for (const error of problem.errors) {
    const field = ["name", "preset", "spec"].find((name) => error.column === name || error.column?.startsWith(`${name}.`));
    if (field) placed.set(field, [...(placed.get(field) || []), `${error.column === field ? "" : `${error.column}: `}${error.detail} ${error.remedy || ""}`.trim()]);
  }
  for (const [field, texts] of placed) fault(field, texts.join(" "));
  if (placed.has("spec")) $("advanced").open = true;
  if (problem.type.endsWith("name-taken")) {
    fault("name", problem.detail);
    $("replace-part").hidden = false;
  }
  if (!placed.size) showProblem($("problem"), problem);
}

// Start

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  if (!usable) return;
  plan?.abort();
  clearFaults();
  const body = jobForm(chosenPreset());
  if (!body) return;
  $("start").disabled = true;
  $("starting").textContent = "Sending …";
  try {
    const job = await call("POST", "/jobs", { body, headers: { "Idempotency-Key": key } });
    location.assign(`/ui/jobs/${job.id}`);
  } catch (error) {
    if (!(error instanceof Problem)) throw error;
    place(error);
    form.querySelector('[aria-invalid="true"]')?.focus();
    $("start").disabled = false;
  }
  $("starting").textContent = "";
});

// Wiring

$("file").addEventListener("change", () => take($("file").files[0]));
$("use-paste").addEventListener("click", () => {
  const text = $("paste").value;
  if (text.trim()) take(new File([text], "pasted"));
});
$("test-file").addEventListener("change", () => {
  testFile = $("test-file").files[0] || null;
  check();
});
$("name").addEventListener("input", () => {
  nameTouched = true;
  $("replace-part").hidden = true;
  $("replace").checked = false;
  changed();
});
for (const id of ["spec", "kind", "replace"]) $(id).addEventListener("input", changed);
for (const input of form.querySelectorAll('input[name="preset"]')) input.addEventListener("change", changed);

// A file that misses the zone must not make the browser leave the page.
for (const kind of ["dragover", "drop"]) window.addEventListener(kind, (event) => event.preventDefault());
$("drop").addEventListener("dragover", () => $("drop").classList.add("over"));
$("drop").addEventListener("dragleave", (event) => {
  if (!$("drop").contains(event.relatedTarget)) $("drop").classList.remove("over");
});
$("drop").addEventListener("drop", (event) => {
  $("drop").classList.remove("over");
  take(event.dataTransfer.files[0]);
});
// The browser may bring back fields when the reader comes back; the file it has forgotten.
form.reset();
