// Lights up what belongs to the same lines or the same step, and opens a step that is clicked.
(() => {
  const all = [...document.querySelectorAll("[data-l], [data-s]")];
  const linesOf = (e) => (e.dataset.l || "").split(" ").filter(Boolean);
  let kept = null;

  function light(chosen) {
    const lines = new Set(chosen ? linesOf(chosen) : []);
    const step = chosen && chosen.dataset.s;
    for (const e of all) {
      const same = step && e.dataset.s ? e.dataset.s === step : linesOf(e).some((l) => lines.has(l));
      e.classList.toggle("lit", Boolean(chosen) && (e === chosen || same));
    }
  }

  function open(key) {
    const row = document.querySelector(`tr.step[data-s="${key}"]`);
    if (!row) return;
    const more = row.parentElement.querySelector(".more");
    const place = more.firstElementChild;
    if (!place.hasChildNodes()) {
      place.append(document.getElementById(more.dataset.more).content.cloneNode(true));
    }
    more.hidden = !more.hidden;
  }

  for (const e of all) {
    e.addEventListener("mouseenter", () => { if (!kept) light(e); });
    e.addEventListener("mouseleave", () => { if (!kept) light(null); });
    e.addEventListener("click", () => {
      kept = kept === e ? null : e;
      light(kept);
      if (e.matches("tr.step")) open(e.dataset.s);
      else if (kept && e.dataset.s) {
        const row = document.querySelector(`tr.step[data-s="${e.dataset.s}"]`);
        if (row) row.scrollIntoView({ block: "center", behavior: "smooth" });
      }
    });
    e.addEventListener("keydown", (event) => { if (event.key === "Enter") e.click(); });
  }
})();
