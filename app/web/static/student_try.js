// The try-it box: scores as one types.
import { Problem, debounced, element, showProblem } from "./api.js";

const SHOWN = 8;
const name = document.getElementById("student").dataset.name;
const find = (id) => document.getElementById(id);
const [text, which, abstain, minScore, answer] = ["text", "which", "abstain", "min-score", "answer"].map(find);
let running = null;
let quantiles = {};
let known = null;

/** Of the chosen version: what precisions it has thresholds for, and how strange a text usually is. */
async function describe() {
  const version = Number(which.selectedOptions[0].dataset.version);
  if (known === null) {
    const found = await fetch(`/students/${name}`);
    if (!found.ok) return;
    known = new Map((await found.json()).versions.map((one) => [one.version, one]));
  }
  const found = known.get(version);
  if (!found) return;
  quantiles = found.scope_quantiles;
  const kept = abstain.value;
  const options = [...abstain.options].filter((option) => ["never", "score"].includes(option.value));
  const points = found.selective.map((point) => {
    const told = `to be ${Math.round(point.precision * 100)} % right: below ${point.threshold.toFixed(2)}, answers ${Math.round(point.coverage * 100)} %`;
    return element("option", { value: String(point.precision) }, told);
  });
  abstain.replaceChildren(...options, ...points);
  abstain.value = [...abstain.options].some((option) => option.value === kept) ? kept : "never";
}

function question() {
  const asked = { student: which.value, inputs: text.value, top_k: SHOWN, out_of_scope: true };
  if (abstain.value === "score") asked.min_score = Math.min(Math.max(Number(minScore.value) || 0, 0), 1);
  else if (abstain.value !== "never") asked.min_precision = Number(abstain.value);
  return asked;
}

async function predict() {
  running?.abort();
  if (!text.value.trim()) return clear();
  const mine = (running = new AbortController());
  const began = performance.now();
  try {
    const found = await fetch("/ui/predict", {
      method: "POST", signal: mine.signal, body: JSON.stringify(question()), headers: { "Content-Type": "application/json" },
    });
    const body = await found.json();
    if (!found.ok) throw new Problem(found.status, body);
    show(body, performance.now() - began, serviceTime(found));
  } catch (error) {
    if (error.name === "AbortError") return;
    clear();
    showProblem(find("try-problem"), error instanceof Problem ? error : new Problem(0, { detail: "The service does not answer." }));
  }
}

/** Milliseconds that the service took, by https://www.w3.org/TR/server-timing; NaN if it does not say. */
function serviceTime(found) {
  return Number.parseFloat(/total;dur=([0-9.]+)/.exec(found.headers.get("Server-Timing") || "")?.[1]);
}

function show(body, roundTrip, inside) {
  const [found] = body.predictions;
  showProblem(find("try-problem"), null);
  const best = find("best");
  best.textContent = found.label;
  best.classList.remove("muted");
  answer.classList.toggle("abstains", found.abstained);
  find("abstained").hidden = !found.abstained;
  find("abstained").textContent = found.abstained ? `abstains: below ${body.threshold.toFixed(2)}` : "";
  find("scores").replaceChildren(...found.scores.map(scoreLine));
  find("strange").textContent = strangeness(found.out_of_scope);
  const taken = Number.isNaN(inside) ? "" : `${inside.toFixed(inside < 10 ? 2 : 0)} ms in the service, `;
  find("took").textContent = `version ${body.version}: ${taken}${roundTrip.toFixed(0)} ms to here`;
  speak(`${found.abstained ? "Abstains; it would be " : ""}${found.label}, ${Math.round(found.score * 100)} percent`);
}

function scoreLine({ label, score }) {
  const bar = element("span", { class: "bar", "aria-hidden": "true" });
  // Set by the script, not as an attribute: the page's policy allows no inline style.
  bar.style.setProperty("--share", score);
  return element("li", {}, element("span", { class: "name", title: label }, label), bar, element("span", { class: "num" }, `${(score * 100).toFixed(1)} %`));
}

function strangeness(value) {
  const passed = Object.keys(quantiles).filter((share) => value > quantiles[share] && Number(share) >= 0.9);
  const share = Math.max(0, ...passed.map(Number));
  return share ? `Stranger than ${Math.round(share * 100)} % of the held-out texts.` : "";
}

function clear() {
  find("best").textContent = "No text yet";
  find("best").classList.add("muted");
  answer.classList.remove("abstains");
  find("abstained").hidden = true;
  for (const id of ["scores", "strange", "took"]) find(id).replaceChildren();
  showProblem(find("try-problem"), null);
}

// Rarely enough that a screen reader is not cut off at each letter.
const speak = debounced((said) => (find("spoken").textContent = said), 1000);
const soon = debounced(predict, 80);

text.addEventListener("input", soon);
minScore.addEventListener("input", soon);
abstain.addEventListener("change", () => {
  find("score-field").hidden = abstain.value !== "score";
  predict();
});
which.addEventListener("change", async () => {
  await describe();
  find("score-field").hidden = abstain.value !== "score";
  predict();
});
await describe();
// A reload keeps what was typed.
if (text.value) predict();
