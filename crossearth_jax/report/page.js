// The slider; everything else works without a script.
document.documentElement.classList.add("js");
for (const example of document.querySelectorAll(".example")) {
  const slider = example.querySelector("input[type=range]");
  const views = [...example.querySelectorAll(".view")];
  const show = () => {
    const place = Number(slider.value);
    // View i is uncovered while the slider goes from i - 1 to i.
    views.forEach((view, i) => {
      const seen = Math.min(1, Math.max(0, place - i + 1));
      view.style.setProperty("--from", `${100 * (1 - seen)}%`);
    });
    const names = views.map((view) => view.dataset.name);
    const last = Math.floor(place);
    const part = Math.round(100 * (place - last));
    slider.setAttribute("aria-valuetext",
      part ? `${names[last]}, ${part} % covered by ${names[last + 1]}` : names[last]);
  };
  slider.addEventListener("input", show);
  show();
}
