// Curves of a job's training, drawn as their points come. One figure a stage and kind of value, one line a series.
import { element } from "./api.js";

const WIDTH = 320, HEIGHT = 150, LEFT = 40, RIGHT = 6, TOP = 8, BOTTOM = 18;
const STAGES = { finetune_teacher: "Teacher", finetune_generator: "Generator", distil: "Student" };

function svg(tag, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

function short(value) {
  const size = Math.abs(value);
  return size !== 0 && (size < 0.001 || size >= 100000) ? value.toExponential(1) : String(size < 1000 ? Number(value.toPrecision(3)) : Math.round(value));
}

function words(series) {
  return series.replaceAll("_", " ");
}

export class Curves {
  constructor(box) {
    this.box = box;
    this.figures = new Map();
    this.drawing = 0;
  }

  /** `event`: of type `metric`. Points at a step that is there already, of a stage that was tried again, take its place. */
  add(event) {
    const { series, step, of, value } = event.data;
    if (!Number.isFinite(step) || !Number.isFinite(value)) return;
    const kind = series.slice(series.lastIndexOf("_") + 1);
    const key = `${event.stage} ${kind}`;
    if (!this.figures.has(key)) {
      this.figures.set(key, { stage: event.stage, kind, of: 0, lines: new Map(), figure: this.box.appendChild(element("figure", { class: "curve" })) });
    }
    const found = this.figures.get(key);
    found.of = Math.max(found.of, of || 0, step);
    if (!found.lines.has(series)) found.lines.set(series, new Map());
    found.lines.get(series).set(step, value);
    found.changed = true;
    // Drawn once a frame, as the points of a page that was reloaded come all at once.
    if (!this.drawing) this.drawing = requestAnimationFrame(() => this.draw());
  }

  get isEmpty() {
    return this.figures.size === 0;
  }

  draw() {
    this.drawing = 0;
    for (const found of this.figures.values()) {
      if (found.changed) this.drawOne(found);
      found.changed = false;
    }
  }

  drawOne({ stage, kind, of, lines, figure }) {
    const points = [...lines.values()].flatMap((line) => [...line]);
    const values = points.map(([, value]) => value);
    const top = Math.max(...values), low = Math.min(0, ...values);
    const x = (step) => LEFT + (step / (of || 1)) * (WIDTH - LEFT - RIGHT);
    const y = (value) => HEIGHT - BOTTOM - ((value - low) / (top - low || 1)) * (HEIGHT - TOP - BOTTOM);
    const name = `${STAGES[stage] || words(stage)}: ${kind} by epoch`;
    const last = [...lines].map(([series, line]) => [series, [...line].sort((one, other) => one[0] - other[0])]);
    const told = last.map(([series, line]) => `${words(series)} ${short(line.at(-1)[1])} after ${short(line.at(-1)[0])} epochs`).join("; ");
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": `${name}. ${told}.` });
    for (const value of [low, (low + top) / 2, top]) {
      picture.append(svg("line", { class: "axis", x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value) }));
      picture.append(svg("text", { x: LEFT - 5, y: y(value) + 4, "text-anchor": "end" }, short(value)));
    }
    picture.append(svg("text", { x: LEFT, y: HEIGHT - 3 }, "0"), svg("text", { x: WIDTH - RIGHT, y: HEIGHT - 3, "text-anchor": "end" }, `${short(of)} epochs`));
    last.forEach(([, line], index) => {
      const colour = `s${(index % 6) + 1}`;
      if (line.length > 1) picture.append(svg("polyline", { class: colour, points: line.map(([step, value]) => `${x(step).toFixed(1)},${y(value).toFixed(1)}`).join(" ") }));
      const [step, value] = line.at(-1);
      picture.append(svg("circle", { class: colour, cx: x(step), cy: y(value), r: 2.5 }));
    });
    const legend = last.map(([series, line], index) => {
      const swatch = element("span", { class: `swatch s${(index % 6) + 1}`, "aria-hidden": "true" });
      return element("li", {}, swatch, `${words(series)} ${short(line.at(-1)[1])}`);
    });
    figure.replaceChildren(element("figcaption", {}, name), picture, element("ul", { class: "legend" }, ...legend));
  }
}
