// Tiles: fetched once, read as numbers, coloured here. Hiding a class asks for nothing.
import { fromArchive } from "./archive.js";

const KEPT = 160;
const kept = new Map(); // promises by address, the least recently used first
const rasters = new Map();

export function register(raster) {
  rasters.set(raster.name, raster);
}

// Pixels of a tile of indices, { ids, side, colours }; null where there is none.
export function indices(name, z, x, y) {
  const key = `${name}/${z}/${x}/${y}`;
  let found = kept.get(key);
  kept.delete(key);
  found ??= bytes(name, z, x, y).then((data) => data && decode(data));
  kept.set(key, found);
  found.catch(() => kept.delete(key));
  if (kept.size > KEPT) kept.delete(kept.keys().next().value);
  return found;
}

// For MapLibre: "layer://NAME/Z/X/Y?hidden=1,4" becomes a bitmap without these classes.
export async function bitmap(address) {
  const [path, query] = address.slice("layer://".length).split("?hidden=");
  const [name, ...place] = path.split("/");
  const [z, x, y] = place.map(Number);
  if (name === "scene") {
    const data = await bytes(name, z, x, y);
    return data ? createImageBitmap(new Blob([data])) : blank();
  }
  const tile = await indices(name, z, x, y);
  if (!tile) return blank();
  const image = new ImageData(tile.side, tile.side);
  const pixels = new Uint32Array(image.data.buffer);
  for (let i = 0; i < pixels.length; i++) pixels[i] = tile.colours[tile.ids[i]];
  if (query) await hide(pixels, query, [rasters.get(name).classes, z, x, y]);
  return createImageBitmap(image);
}

// Clears the pixels of some classes, of confidence and trust too.
async function hide(pixels, query, place) {
  const seen = new Uint8Array(256).fill(1);
  for (const id of query.split(",")) seen[Number(id)] = 0;
  const classes = await indices(...place);
  if (classes) classes.ids.forEach((id, i) => { if (!seen[id]) pixels[i] = 0; });
}

async function bytes(name, z, x, y) {
  const raster = rasters.get(name);
  if (raster.archive) return fromArchive(raster.archive, z, x, y);
  const answer = await fetch(`${raster.tiles}/${z}/${x}/${y}`).catch(() => {
    throw new Error("No answer any more: start crossearth view again, and open its new address.");
  });
  if (!answer.ok) throw new Error(await answer.text());
  return answer.status === 204 ? null : answer.arrayBuffer();
}

function blank() {
  return createImageBitmap(new ImageData(1, 1));
}

// A PNG of 8-bit indices without filters, as crossearth_jax/view/layers.py writes it. A
// canvas would do too, but some browsers change what is read from one, to hide who asks.
async function decode(data) {
  const view = new DataView(data);
  const text = new TextDecoder("latin1");
  const packed = [];
  const colours = new Uint8Array(1024);
  let side = 0;
  for (let at = 8; at < data.byteLength;) {
    const length = view.getUint32(at);
    const chunk = new Uint8Array(data, at + 8, length);
    const kind = text.decode(new Uint8Array(data, at + 4, 4));
    if (kind === "IHDR") side = view.getUint32(at + 8);
    if (kind === "IDAT") packed.push(chunk);
    if (kind === "PLTE") for (let i = 0; i < length; i++) colours[4 * Math.floor(i / 3) + i % 3] = chunk[i];
    if (kind === "tRNS") chunk.forEach((alpha, i) => { colours[4 * i + 3] = alpha; });
    at += length + 12;
  }
  const stream = new Blob(packed).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = new Uint8Array(await new Response(stream).arrayBuffer());
  const ids = new Uint8Array(side * side);
  for (let row = 0; row < side; row++) {
    const start = row * (side + 1);
    if (rows[start] !== 0) throw new Error("a tile is damaged: export the folder again");
    ids.set(rows.subarray(start + 1, start + 1 + side), row * side);
  }
  return { ids, side, colours: new Uint32Array(colours.buffer) };
}
