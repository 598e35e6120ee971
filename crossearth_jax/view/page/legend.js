// The legend: classes with their areas, and a bar for shares.
import { area, share } from "./words.js";

export function makeLegend(about, onToggle) {
  const body = document.querySelector("#legend tbody");
  const foot = document.querySelector("#legend tfoot");
  const note = document.getElementById("area-note");
  const hidden = about.groups.map(() => new Set());
  let areas = { groups: about.groups.map((group) => group.maps.map(() => null)), share: 0, problem: "" };
  let shown = { group: 0, map: -1 };

  function toggle(id, on) {
    const set = hidden[shown.group];
    if (on) set.delete(id); else set.add(id);
    onToggle(shown.group);
  }

  function rows() {
    const group = about.groups[shown.group];
    body.replaceChildren(...group.classes.map((one) => {
      const row = document.createElement("tr");
      const head = document.createElement("th");
      head.scope = "row";
      const label = document.createElement("label");
      const box = document.createElement("input");
      box.type = "checkbox";
      box.checked = !hidden[shown.group].has(one.id);
      box.dataset.id = one.id;
      box.addEventListener("change", () => toggle(one.id, box.checked));
      const swatch = document.createElement("span");
      swatch.className = "swatch";
      swatch.style.background = one.colour;
      const name = document.createElement("span");
      name.textContent = one.name;
      label.append(box, swatch, name);
      head.append(label);
      row.append(head, document.createElement("td"), document.createElement("td"));
      return row;
    }));
    figures();
  }

  function figures() {
    const group = about.groups[shown.group];
    const known = areas.groups[shown.group].filter((_, i) => shown.map < 0 || i === shown.map);
    const all = known.every(Boolean);
    const sums = {};
    for (const one of known.filter(Boolean)) {
      for (const [id, value] of Object.entries(one)) sums[id] = (sums[id] || 0) + value;
    }
    const total = Object.values(sums).reduce((a, b) => a + b, 0);
    group.classes.forEach((one, i) => {
      const [, size, part] = body.rows[i].cells;
      const value = sums[one.id] || 0;
      size.textContent = all ? area(value, about.on_earth) : "…";
      size.title = all && about.on_earth ? `${value.toFixed(2)} m²` : "";
      part.textContent = all ? share(total ? value / total : 0) : "…";
    });
    const row = document.createElement("tr");
    for (const text of ["Mapped", all ? area(total, about.on_earth) : "…", ""]) {
      const cell = document.createElement(row.cells.length ? "td" : "th");
      cell.textContent = text;
      row.append(cell);
    }
    foot.replaceChildren(row);
    note.textContent = remark(all, group);
  }

  function remark(all, group) {
    if (!all) return areas.problem ? `Areas are not known: ${areas.problem}` : `Counting pixels: ${Math.round(100 * areas.share)} %`;
    if (group.overlap && shown.map < 0) return "Maps overlap: what lies in two of them counts twice.";
    const unnamed = areas.groups[shown.group].some((one) => Object.keys(one).some((id) => !group.classes.some((c) => String(c.id) === id)));
    return unnamed ? "“Mapped” includes ids that are not listed." : "";
  }

  function every(on) {
    const ids = about.groups[shown.group].classes.map((one) => one.id);
    hidden[shown.group] = new Set(on ? [] : ids);
    for (const box of body.querySelectorAll("input")) box.checked = on;
    onToggle(shown.group);
  }

  document.getElementById("all").addEventListener("click", () => every(true));
  document.getElementById("none").addEventListener("click", () => every(false));
  document.getElementById("area-head").textContent = about.on_earth ? "Area" : "Pixels";

  return {
    hidden: (group) => [...hidden[group]],
    show(group, map) {
      shown = { group, map };
      rows();
    },
    update(found) {
      areas = found;
      figures();
    },
  };
}

const NOTES = {
  confidence: "Share of the chosen class in the model’s scores.",
  trust: "Calibrated chance that the class is right.",
};

export function showRamp(about, kind) {
  const box = document.getElementById("ramp");
  box.hidden = !(kind in NOTES);
  if (box.hidden) return;
  document.getElementById("ramp-title").textContent = kind;
  document.getElementById("ramp-note").textContent = NOTES[kind];
  const pen = document.getElementById("ramp-bar").getContext("2d");
  const colours = pen.createLinearGradient(0, 0, 251, 0);
  about.ramp.forEach((colour, i) => colours.addColorStop(i / (about.ramp.length - 1), colour));
  pen.fillStyle = colours;
  pen.fillRect(0, 0, 251, 12);
}
