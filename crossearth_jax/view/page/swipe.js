// A second map over the first, cut off at a line that is dragged or moved by keys.
const STEP = 2; // percent

export function makeSwipe(map, makeOver) {
  const stage = document.getElementById("stage");
  const box = document.getElementById("over");
  const divider = document.getElementById("divider");
  let over = null;
  let place = 50;

  function move(percent) {
    place = Math.min(100, Math.max(0, percent));
    box.style.clipPath = `inset(0 0 0 ${place}%)`;
    divider.style.left = `${place}%`;
    divider.setAttribute("aria-valuenow", Math.round(place));
    divider.setAttribute("aria-valuetext", `line at ${Math.round(place)} %`);
  }

  const follow = () => over.jumpTo({ center: map.getCenter(), zoom: map.getZoom() });

  divider.addEventListener("pointerdown", (event) => {
    divider.setPointerCapture(event.pointerId);
    divider.focus();
  });
  divider.addEventListener("pointermove", (event) => {
    if (!divider.hasPointerCapture(event.pointerId)) return;
    const { left, width } = stage.getBoundingClientRect();
    move(100 * (event.clientX - left) / width);
  });
  divider.addEventListener("keydown", (event) => {
    const to = {
      ArrowLeft: place - STEP, ArrowRight: place + STEP, ArrowDown: place - STEP, ArrowUp: place + STEP,
      PageDown: place - 10, PageUp: place + 10, Home: 0, End: 100,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    move(to);
  });

  return {
    get over() { return over; },
    isRight: (x) => !over || x >= place / 100 * stage.clientWidth,
    turn(on) {
      divider.hidden = box.hidden = !on;
      if (on && !over) {
        over = makeOver(box);
        map.on("move", follow);
        move(place);
      } else if (!on && over) {
        map.off("move", follow);
        over.remove();
        over = null;
      }
    },
  };
}
