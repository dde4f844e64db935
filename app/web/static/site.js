// On every page: times in the reader's own zone, and buttons that copy.
import { toast } from "./api.js";

const STEPS = [[60, "second", 1], [3600, "minute", 60], [86400, "hour", 3600], [7 * 86400, "day", 86400]];
const relative = new Intl.RelativeTimeFormat("en", { numeric: "auto" });
const absolute = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

/** `3 minutes ago`, or the date of what is older than a week; the full time as the title. */
export function localTimes(root = document) {
  for (const time of root.querySelectorAll("time[datetime]")) {
    const moment = new Date(time.dateTime);
    const seconds = (Date.now() - moment.getTime()) / 1000;
    const step = STEPS.find(([limit]) => Math.abs(seconds) < limit);
    time.title = absolute.format(moment);
    time.textContent = step ? relative.format(-Math.round(seconds / step[2]), step[1]) : absolute.format(moment);
  }
}

/** The clipboard's own interface is absent where the page came over plain HTTP from another machine. */
async function copy(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  const area = document.createElement("textarea");
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  if (!done) throw new Error("not copied");
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (!button) return;
  try {
    await copy(document.getElementById(button.dataset.copy).textContent);
    toast("Copied.", 2);
  } catch {
    toast("The browser does not let the page copy: select the text yourself.");
  }
});

localTimes();
setInterval(localTimes, 30000);
