// The value under the cursor, or under the cross while the map is moved by keys.
import { indices } from "./tiles.js";
import { degrees, unit } from "./words.js";

const PAUSE = 60; // ms between looks

export function makeReadout(about, map, groupAt) {
  const out = document.getElementById("readout");
  const cross = document.getElementById("cross");
  let wanted = null;
  let busy = false;

  async function look() {
    if (busy) return;
    busy = true;
    while (wanted) {
      const { place, group } = wanted;
      wanted = null;
      try {
        show(out, about, place, group, await valuesAt(about, group, place));
      } catch {
        show(out, about, place, group, {}); // the map itself reports what is wrong
      }
      await new Promise((done) => setTimeout(done, PAUSE));
    }
    busy = false;
  }

  function at(place, x) {
    wanted = { place, group: about.groups[groupAt(x)] };
    look();
  }

  const centre = () => at(map.getCenter(), map.getContainer().clientWidth / 2);
  map.on("mousemove", (event) => {
    cross.hidden = true;
    at(event.lngLat, event.point.x);
  });
  map.on("click", (event) => at(event.lngLat, event.point.x));
  map.getCanvas().addEventListener("keydown", (event) => {
    if (event.key === "Tab") return;
    cross.hidden = false;
    centre();
  });
  map.on("move", () => { if (!cross.hidden) centre(); });
}

async function valuesAt(about, group, place) {
  const found = {};
  for (const [kind, raster] of Object.entries(group.layers)) {
    const scale = 2 ** raster.zoom;
    const [x, y] = unit(place.lng, place.lat).map((part) => part * scale);
    if (!(y >= 0 && y < scale)) continue;
    const tile = await indices(raster.name, raster.zoom, Math.floor(x), Math.floor(y));
    if (!tile) continue;
    const [column, row] = [x, y].map((part) => Math.floor((part % 1) * tile.side));
    const value = tile.ids[row * tile.side + column];
    if (value !== 255) found[kind] = value;
  }
  return found;
}

function show(out, about, place, group, values) {
  const parts = [span(where(about, group, place), "soft")];
  const entry = group.classes.find((one) => one.id === values.classes);
  if (values.classes !== undefined) {
    const swatch = span("", "swatch");
    swatch.style.background = entry ? entry.colour : "transparent";
    const name = document.createElement("b");
    name.textContent = entry ? entry.name : `class ${values.classes}`;
    parts.push(swatch, " ", name);
    for (const kind of ["confidence", "trust"]) {
      if (values[kind] === undefined) continue;
      parts.push(` · ${kind} ${Math.round(100 * values[kind] / about.unit)} %`);
    }
  } else {
    parts.push("no data");
  }
  out.replaceChildren(...parts);
  out.hidden = false;
}

function where(about, group, place) {
  if (about.on_earth) return degrees(place.lng, place.lat);
  const world = 20037508.342789244;
  const [x, y] = unit(place.lng, place.lat);
  const metres = [(2 * x - 1) * world, (1 - 2 * y) * world];
  for (const one of group.maps) {
    const column = Math.floor((metres[0] - one.corner[0]) / one.pixel);
    const row = Math.floor((one.corner[1] - metres[1]) / one.pixel);
    const inside = column >= 0 && row >= 0 && column < one.size[0] && row < one.size[1];
    if (inside) return `${one.name}: column ${column}, row ${row}`;
  }
  return "";
}

function span(text, name) {
  const element = document.createElement("span");
  element.className = name;
  element.textContent = text;
  return element;
}
