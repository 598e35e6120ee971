// From about.json to a page.
import { addProtocol, setWorkerUrl } from "./maplibre-gl.js";
import { addControls, apply, extent, makeChart, overlays } from "./chart.js";
import { makeLegend, showRamp } from "./legend.js";
import { makeReadout } from "./readout.js";
import { makeSwipe } from "./swipe.js";
import { bitmap, register } from "./tiles.js";

const POLL = 1000; // ms between looks at areas that are being counted
const at = (id) => document.getElementById(id);

function notice(text) {
  at("notice").textContent = text;
  at("notice").hidden = false;
}

async function json(name) {
  const answer = await fetch(name);
  if (!answer.ok) throw new Error(`${name} cannot be read (${answer.status})`);
  return answer.json();
}

function fillSelects(about) {
  const several = about.groups.length > 1;
  const entries = overlays(about).map((one) => [one.key, several ? `${about.groups[one.group].name}: ${one.kind}` : one.kind]);
  const none = ["", about.scene ? "scene alone" : "nothing"];
  for (const [id, list, value] of [["right", [...entries, none], entries[0][0]], ["left", [none, ...entries], ""]]) {
    at(id).replaceChildren(...list.map(([key, text]) => new Option(text, key)));
    at(id).value = value;
  }
}

function fillChoice(about) {
  const named = about.groups.flatMap((group, g) => group.maps.map((one, m) => ({ g, m, one })));
  const select = at("choice").querySelector("select");
  at("choice").hidden = named.length < 2;
  select.replaceChildren(new Option(`all ${named.length} maps`, ""), ...named.map(({ g, one }, i) => new Option(label(about, g, one), i)));
  return { select, named };
}

function label(about, g, one) {
  if (about.groups.length < 2) return one.name;
  const group = about.groups[g];
  return group.maps.length < 2 ? group.name : `${group.name}: ${one.name}`;
}

function start(about) {
  document.title = `${about.title} – CrossEarth`;
  at("title").textContent = about.title;
  at("scene-box").hidden = !about.scene;
  at("polygons-box").hidden = !about.polygons.length;
  at("opacity").value = about.scene ? 60 : 100;
  fillSelects(about);
  const { select, named } = fillChoice(about);
  const legend = makeLegend(about, () => refresh());
  let chart = null;
  let swipe = null;
  const styled = new WeakSet(); // charts whose layers are there
  const follow = (one) => {
    one.on("error", ({ error }) => notice(error.message));
    one.once("style.load", () => {
      styled.add(one);
      refresh();
    });
  };

  const overlay = (id) => overlays(about).find((one) => one.key === at(id).value);
  const state = (id) => ({
    overlay: at(id).value,
    opacity: at("opacity").value / 100,
    scene: at("scene").checked,
    polygons: at("polygons").checked,
    hidden: legend.hidden,
  });
  const group = () => (overlay("right") || overlay("left") || { group: 0 }).group;

  function refresh() {
    at("opacity-value").textContent = `${at("opacity").value} %`;
    const split = at("swipe").checked;
    if (styled.has(chart)) apply(chart, about, state(split ? "left" : "right"));
    if (styled.has(swipe?.over)) apply(swipe.over, about, state("right"));
  }

  function choose() {
    const chosen = select.value === "" ? null : named[Number(select.value)];
    const mine = group();
    legend.show(mine, chosen && chosen.g === mine ? chosen.m : -1);
    showRamp(about, (overlay("right") || {}).kind);
    refresh();
  }

  select.addEventListener("change", () => {
    const chosen = select.value === "" ? named : [named[Number(select.value)]];
    if (chosen.length === 1 && overlay("right") && overlay("right").group !== chosen[0].g) {
      at("right").value = about.groups[chosen[0].g].layers.classes.name;
    }
    if (chart) chart.fitBounds(extent(chosen.map(({ one }) => one.bounds)), { padding: 24, animate: false });
    choose();
  });
  for (const id of ["opacity", "scene", "polygons"]) at(id).addEventListener("input", refresh);
  for (const id of ["right", "left"]) at(id).addEventListener("change", choose);
  at("swipe").addEventListener("change", () => {
    at("left-box").hidden = !at("swipe").checked;
    at("right-name").textContent = at("swipe").checked ? "Right" : "Layer";
    if (swipe) swipe.turn(at("swipe").checked);
    refresh();
  });
  choose();
  poll(legend);

  at("waiting").hidden = true;
  at("stage").hidden = at("panel").hidden = false;
  if (!document.createElement("canvas").getContext("webgl2")) {
    at("stage").classList.add("flat");
    notice("This page draws with WebGL 2, which this browser does not offer: turn on hardware acceleration, or take another browser.");
    return;
  }
  const bounds = extent(named.map(({ one }) => one.bounds));
  chart = makeChart(at("map"), about, { bounds, fitBoundsOptions: { padding: 24 } });
  follow(chart);
  addControls(chart, about);
  swipe = makeSwipe(chart, (box) => {
    const over = makeChart(box, about, { center: chart.getCenter(), zoom: chart.getZoom(), interactive: false });
    follow(over);
    return over;
  });
  makeReadout(about, chart, (x) => ((swipe.isRight(x) ? overlay("right") : overlay("left")) || { group: group() }).group);
  at("north").hidden = !about.on_earth;
  globalThis.chart = chart; // for the console, and for tests
}

async function poll(legend) {
  const found = await json("areas.json").catch(() => null);
  if (!found) return;
  legend.update(found);
  const open = found.groups.some((group) => group.some((one) => one === null));
  if (open && !found.problem) setTimeout(() => poll(legend), POLL);
}

setWorkerUrl(new URL("maplibre-gl-worker.js", location.href).href);
addProtocol("layer", async ({ url }) => ({ data: await bitmap(url) }));
try {
  const about = await json("about.json");
  for (const { raster, group } of overlays(about)) {
    register({ ...raster, classes: about.groups[group].layers.classes.name });
  }
  if (about.scene) register(about.scene);
  start(about);
} catch (error) {
  at("waiting").hidden = true;
  at("stage").hidden = false;
  notice(`The page cannot start: ${error.message}`);
}
