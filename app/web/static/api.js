// Calls of the JSON API, and how its refusals are shown.

/** A refusal: problem+json (RFC 9457), or no answer at all. `errors` name rows, columns or fields. */
export class Problem extends Error {
  constructor(status, body) {
    super(body.detail || body.title || `The service answered ${status}.`);
    this.status = status;
    this.type = body.type || "";
    this.detail = this.message;
    this.remedy = body.remedy || "";
    this.errors = body.errors || [];
    this.errorsTotal = body.errors_total || this.errors.length;
  }
}

/**
 * Asks the API; the decoded answer, or null where it has none.
 * options: `json` (a value to send), `body` (FormData or text), `headers`, `signal`.
 * Throws Problem; an aborted call throws its AbortError.
 */
export async function call(method, path, { json, body, headers = {}, signal } = {}) {
  const sent = json === undefined ? { body, headers } : { body: JSON.stringify(json), headers: { ...headers, "Content-Type": "application/json" } };
  let answer;
  try {
    answer = await fetch(path, { method, signal, ...sent });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem(0, { detail: "The service does not answer.", remedy: "See whether it runs, then try again." });
  }
  const text = await answer.text();
  const kind = answer.headers.get("Content-Type") || "";
  const value = kind.includes("json") && text ? JSON.parse(text) : text || null;
  if (answer.ok) return value;
  throw new Problem(answer.status, typeof value === "object" && value ? value : {});
}

/** Makes an element: element("p", { class: "muted" }, "text", child, ...). Texts are never read as markup. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** Shows what went wrong, and the remedy, in `box`; `null` clears it. `listed`: whether the single errors are told too. */
export function showProblem(box, problem, { listed = true } = {}) {
  box.replaceChildren();
  box.hidden = !problem;
  if (!problem) return;
  const parts = [element("p", {}, problem.detail || problem.message)];
  if (problem.remedy) parts.push(element("p", { class: "remedy" }, problem.remedy));
  if (listed && problem.errors?.length > 1) {
    const lines = problem.errors.slice(0, 10).map((error) => {
      const place = [error.row && `row ${error.row}`, error.column].filter(Boolean).join(", ");
      return element("li", {}, `${place ? `${place}: ` : ""}${error.detail}`);
    });
    parts.push(element("ul", {}, ...lines));
  }
  box.append(element("div", { class: "notice", "data-kind": "error", role: "alert" }, ...parts));
}

/** A short message in the corner, read out by screen readers. */
export function toast(text, seconds = 5) {
  const made = element("div", { class: "toast" }, text);
  document.getElementById("toasts").append(made);
  setTimeout(() => made.remove(), seconds * 1000);
}

/** A random UUID, for `Idempotency-Key`. crypto.randomUUID is absent where the page came over plain HTTP from another machine. */
export function uuid() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-${hex.slice(12, 16)}-${hex.slice(16, 20)}-${hex.slice(20)}`;
}

/** Opens a <dialog> whose form has method="dialog"; the value of the button that closed it, "" for Escape. */
export function ask(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => dialog.addEventListener("close", () => resolve(dialog.returnValue), { once: true }));
}

/** Calls `act` once `pause` milliseconds have passed without another call. */
export function debounced(act, pause = 200) {
  let timer;
  return (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => act(...given), pause);
  };
}
