// Aliases, shadows and snippets of a student.
import { ask, call, showProblem, toast } from "./api.js";

const root = document.getElementById("student");
const find = (id) => document.getElementById(id);
const path = `/students/${root.dataset.name}`;
const DONE = "gendistil-done";

/** What each button asks, and the call that follows; null if its dialog was left. */
const acts = {
  async move({ alias, version }) {
    find("move-alias").value = alias || "";
    if (version) find("move-version").value = version;
    if (!(await asked("ask-move"))) return null;
    const target = { version: Number(find("move-version").value), reason: reason("move-reason") };
    const moved = find("move-alias").value.trim();
    await call("PUT", `${path}/aliases/${encodeURIComponent(moved)}`, { json: target });
    return `${moved} is version ${target.version} now.`;
  },
  async rollback({ alias, version, back }) {
    find("rollback-alias").textContent = alias;
    find("rollback-version").textContent = version;
    find("rollback-back").textContent = back;
    if (!(await asked("ask-rollback"))) return null;
    const found = await call("POST", `${path}/aliases/${encodeURIComponent(alias)}/rollback`, { json: { reason: reason("rollback-reason") } });
    return `${alias} is version ${found.version} again.`;
  },
  async unalias({ alias }) {
    find("unalias-alias").textContent = find("unalias-reference").textContent = alias;
    if (!(await asked("ask-unalias"))) return null;
    await call("DELETE", `${path}/aliases/${encodeURIComponent(alias)}`);
    return `${alias} is deleted.`;
  },
  async shadow() {
    if (!(await asked("ask-shadow"))) return null;
    const target = { version: Number(find("shadow-version").value), share: Number(find("shadow-share").value) };
    await call("PUT", `${path}/shadow`, { json: target });
    return `Version ${target.version} is scored beside the one that answers.`;
  },
  async unshadow() {
    await call("DELETE", `${path}/shadow`);
    return "The shadow has stopped.";
  },
};

async function asked(id) {
  return (await ask(find(id))) === "yes";
}

function reason(id) {
  return find(id).value.trim() || null;
}

// No submit button, so that Enter in a field is the other one.
for (const button of document.querySelectorAll("[data-leave]")) button.addEventListener("click", () => button.closest("dialog").close(""));

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-act]");
  if (!button) return;
  showProblem(find("problem"), null);
  button.disabled = true;
  try {
    const done = await acts[button.dataset.act](button.dataset);
    if (done) {
      // The page is made anew from what is stored, and says it then.
      sessionStorage.setItem(DONE, done);
      location.reload();
    }
  } catch (problem) {
    showProblem(find("problem"), problem);
    find("problem").scrollIntoView({ block: "nearest" });
  } finally {
    button.disabled = false;
  }
});

const done = sessionStorage.getItem(DONE);
if (done) {
  sessionStorage.removeItem(DONE);
  toast(done);
}

// Behind a proxy the service may not know the address that the reader used; the browser does.
if (root.dataset.base !== location.origin) {
  for (const code of document.querySelectorAll("[id^=snippet-]")) code.textContent = code.textContent.replaceAll(root.dataset.base, location.origin);
}
