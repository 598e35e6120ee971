// Sliders, and a word where a table goes on; everything else works without a script.
document.documentElement.classList.add("js");
for (const example of document.querySelectorAll(".example")) {
  const slider = example.querySelector("input[type=range]");
  const views = [...example.querySelectorAll(".view")];
  const stops = [...example.querySelectorAll("[data-stop]")];
  const show = () => {
    const place = Number(slider.value);
    // View i is uncovered while the slider goes from i - 1 to i.
    views.forEach((view, i) => {
      const seen = Math.min(1, Math.max(0, place - i + 1));
      view.style.setProperty("--from", `${100 * (1 - seen)}%`);
    });
    stops.forEach((stop, i) => stop.classList.toggle("now", i === Math.round(place)));
    const names = views.map((view) => view.dataset.name);
    const last = Math.floor(place);
    const part = Math.round(100 * (place - last));
    slider.setAttribute("aria-valuetext",
      part ? `${names[last]}, ${part} % covered by ${names[last + 1]}` : names[last]);
  };
  slider.addEventListener("input", show);
  show();
}
// A button below an image moves its slider, one in a legend all of them.
for (const button of document.querySelectorAll("[data-stop]")) {
  button.addEventListener("click", () => {
    const whole = button.closest(".example") ?? document;
    for (const slider of whole.querySelectorAll(".slider input")) {
      slider.value = button.dataset.stop;
      slider.dispatchEvent(new Event("input"));
    }
  });
}
for (const table of document.querySelectorAll(".scroll")) {
  const more = () =>
    table.classList.toggle("more", table.scrollWidth > table.clientWidth + 1);
  new ResizeObserver(more).observe(table);
}
