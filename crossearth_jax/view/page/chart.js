// The map itself: sources, layers, and what is seen of them.
import { Map as Chart, NavigationControl, Popup, ScaleControl } from "./maplibre-gl.js";
import { area } from "./words.js";

const dark = matchMedia("(prefers-color-scheme: dark)");
const paper = () => dark.matches ? "#0d1117" : "#e6eaf1";

// The corners around boxes in degrees, by the shorter way around the globe.
export function extent(boxes) {
  const turned = boxes.map(([west, south, east, north]) => {
    const turn = west + east < 0 ? 360 : 0;
    return [west + turn, south, east + turn, north];
  });
  const [here, there] = [boxes, turned].map((list) => {
    const [west, south, east, north] = [0, 1, 2, 3].map((i) => list.map((box) => box[i]));
    return [[Math.min(...west), Math.min(...south)], [Math.max(...east), Math.max(...north)]];
  });
  const width = ([low, high]) => high[0] - low[0];
  return width(there) < width(here) ? there : here;
}

export function overlays(about) {
  return about.groups.flatMap((group, index) => Object.entries(group.layers).map(
    ([kind, raster]) => ({ key: raster.name, kind, group: index, raster })));
}

export function makeChart(box, about, first) {
  const chart = new Chart({
    container: box,
    style: style(about),
    attributionControl: false,
    dragRotate: false,
    pitchWithRotate: false,
    touchPitch: false,
    maxPitch: 0,
    maxZoom: 24,
    renderWorldCopies: about.on_earth,
    fadeDuration: 0,
    ...first,
  });
  addresses.set(chart, new Map(overlays(about).map((one) => [one.key, template(one.raster, [])])));
  chart.touchZoomRotate.disableRotation();
  chart.keyboard.disableRotation();
  const repaint = () => chart.setPaintProperty("paper", "background-color", paper());
  dark.addEventListener("change", repaint);
  chart.on("remove", () => dark.removeEventListener("change", repaint));
  return chart;
}

export function addControls(chart, about) {
  chart.addControl(new NavigationControl({ showCompass: false }), "top-right");
  if (about.on_earth) chart.addControl(new ScaleControl({ maxWidth: 120 }), "top-left");
  for (const [i] of about.polygons.entries()) {
    chart.on("click", `polygons${i}`, (event) => {
      const { class: name, area_m2: metres, area_px: pixels, trust } = event.features[0].properties;
      const size = metres === undefined ? pixels : metres;
      const parts = [name, size === undefined ? "" : area(size, metres !== undefined)];
      if (trust !== undefined) parts.push(`trust ${Math.round(100 * trust)} %`);
      const text = parts.filter(Boolean).join(" · ");
      if (text) new Popup({ maxWidth: "16rem" }).setLngLat(event.lngLat).setText(text).addTo(chart);
    });
  }
}

const addresses = new WeakMap(); // of each chart: what its sources ask for

// state: { overlay, opacity, scene, polygons, hidden(group) }
export function apply(chart, about, state) {
  for (const one of overlays(about)) {
    const seen = one.key === state.overlay;
    chart.setLayoutProperty(one.key, "visibility", seen ? "visible" : "none");
    chart.setPaintProperty(one.key, "raster-opacity", state.opacity);
    const address = template(one.raster, state.hidden(one.group));
    if (addresses.get(chart).get(one.key) !== address) {
      addresses.get(chart).set(one.key, address);
      chart.getSource(one.key).setTiles([address]);
    }
  }
  if (about.scene) chart.setLayoutProperty("scene", "visibility", state.scene ? "visible" : "none");
  const shown = overlays(about).find((one) => one.key === state.overlay);
  const hidden = shown ? state.hidden(shown.group) : [];
  about.polygons.forEach((_, i) => {
    for (const layer of [`polygons${i}`, `casing${i}`, `line${i}`]) {
      chart.setLayoutProperty(layer, "visibility", state.polygons ? "visible" : "none");
      chart.setFilter(layer, ["!", ["in", ["get", "class_id"], ["literal", hidden]]]);
    }
  });
}

function template(raster, hidden) {
  return `layer://${raster.name}/{z}/{x}/{y}?hidden=${hidden.join(",")}`;
}

function style(about) {
  const sources = {};
  const layers = [{ id: "paper", type: "background", paint: { "background-color": paper() } }];
  const add = (raster, paint) => {
    sources[raster.name] = {
      type: "raster", tileSize: about.tile, minzoom: 0, maxzoom: raster.zoom, tiles: [template(raster, [])],
      ...(raster.bounds ? { bounds: raster.bounds } : {}),
    };
    layers.push({ id: raster.name, type: "raster", source: raster.name, paint: { "raster-fade-duration": 0, ...paint } });
  };
  if (about.scene) add(about.scene, {});
  for (const one of overlays(about)) add(one.raster, { "raster-resampling": "nearest" });
  about.polygons.forEach((one, i) => {
    const source = `polygons${i}`;
    sources[source] = { type: "geojson", data: new URL(one.address, location.href).href };
    layers.push(
      { id: `polygons${i}`, type: "fill", source, paint: { "fill-opacity": 0 } },
      { id: `casing${i}`, type: "line", source, paint: { "line-color": "#000", "line-width": 2.4, "line-opacity": 0.6 } },
      { id: `line${i}`, type: "line", source, paint: { "line-color": "#fff", "line-width": 1 } },
    );
  });
  return { version: 8, sources, layers };
}
