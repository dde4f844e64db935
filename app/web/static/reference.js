// The reference of the API: filtering its calls, unfolding the one that an address names, and examples that ask this service.
import { debounced } from "./api.js";

const root = document.getElementById("reference");
const field = document.getElementById("filter");
const found = document.getElementById("filter-found");
const unfold = document.getElementById("unfold");
const operations = [...root.querySelectorAll("[data-operation]")].map((details) => ({
  details,
  line: root.querySelector(`[data-of="${CSS.escape(details.dataset.operation)}"]`),
  words: `${details.querySelector("summary").textContent} ${details.querySelector(".words")?.textContent || ""}`.toLowerCase(),
}));

/** Shows the calls that have all words; groups with none of them go. */
function filter() {
  const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  for (const { details, line, words } of operations) {
    const fits = wanted.every((word) => words.includes(word));
    details.hidden = line.hidden = !fits;
    count += fits;
  }
  for (const group of root.querySelectorAll("section[data-group]")) {
    const none = !group.querySelector("[data-operation]:not([hidden])");
    for (const part of root.querySelectorAll(`[data-group="${group.dataset.group}"]`)) part.hidden = none;
  }
  found.hidden = !wanted.length;
  found.textContent = count === 1 ? "1 call." : count ? `${count} calls.` : "No call has these words.";
}

/** Unfolds the call that the address names, whatever is filtered. */
function follow() {
  const target = location.hash && document.getElementById(decodeURIComponent(location.hash.slice(1)));
  const details = target && target.closest(".operation");
  if (!details) return;
  if (details.hidden) {
    field.value = "";
    filter();
  }
  details.open = true;
  details.scrollIntoView();
}

unfold.addEventListener("click", () => {
  const open = unfold.getAttribute("aria-pressed") !== "true";
  unfold.setAttribute("aria-pressed", String(open));
  for (const { details } of operations) details.open = open;
});
// A call that is unfolded can be linked to; the page stays where it is.
for (const { details } of operations) {
  details.querySelector("summary").addEventListener("click", () => {
    if (!details.open) history.replaceState(null, "", `#${details.dataset.operation}`);
  });
}
field.addEventListener("input", debounced(filter, 80));
field.form.addEventListener("submit", (event) => event.preventDefault());
field.form.hidden = false;
window.addEventListener("hashchange", follow);
// The same link once more changes no address.
root.querySelector(".index").addEventListener("click", (event) => {
  const link = event.target.closest("a");
  if (link?.hash === location.hash) follow();
});

// Behind a proxy the service may not know the address that the reader used; the browser does.
for (const code of root.querySelectorAll("[id^=curl-]")) code.textContent = code.textContent.replaceAll(root.dataset.base, location.origin);
filter();
follow();
