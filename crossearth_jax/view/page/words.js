// Numbers as people read them.
const grouped = new Intl.NumberFormat("en", { maximumSignificantDigits: 4 });
const whole = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });

export function area(value, onEarth) {
  if (!onEarth) return whole.format(value) + " px";
  if (value < 1e4) return (value < 10 ? grouped : whole).format(value) + " m²";
  if (value < 1e6) return grouped.format(value / 1e4) + " ha";
  return grouped.format(value / 1e6) + " km²";
}

export function share(part) {
  if (part > 0 && part < 0.0005) return "< 0.1 %";
  return (100 * part).toFixed(1) + " %";
}

export function degrees(longitude, latitude) {
  const turned = ((longitude + 540) % 360 + 360) % 360 - 180;
  const north = `${Math.abs(latitude).toFixed(5)}° ${latitude < 0 ? "S" : "N"}`;
  return `${north}, ${Math.abs(turned).toFixed(5)}° ${turned < 0 ? "W" : "E"}`;
}

// Web Mercator as the tiles have it, from 0 to 1 from the west and from the north.
export function unit(longitude, latitude) {
  const angle = latitude * Math.PI / 180;
  const y = 0.5 - Math.asinh(Math.tan(angle)) / (2 * Math.PI);
  const x = longitude / 360 + 0.5;
  return [x - Math.floor(x), y];
}
