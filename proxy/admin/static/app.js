// What a page cannot say in HTML: the pulse of the live connection, charts, the theme, and copying.
"use strict";
(() => {
  const pulse = document.getElementById("pulse");
  let heard = Date.now();

  function show(kind, text) {
    if (!pulse) return;
    pulse.classList.toggle("live", kind === "live");
    pulse.classList.toggle("lost", kind === "lost");
    const place = pulse.querySelector(".text");
    if (place.textContent !== text) place.textContent = text;
  }

  // A page without news for this long says so: the server sends a beat every five seconds.
  const SILENT_MS = 12000;
  document.addEventListener("htmx:sse:after:connection", () => { heard = Date.now(); if (pulse) show("live", pulse.dataset.live); });
  document.addEventListener("beat", () => { heard = Date.now(); if (pulse) show("live", pulse.dataset.live); });
  document.addEventListener("htmx:sse:after:message", () => { heard = Date.now(); sign(); draw(); });
  document.addEventListener("htmx:sse:error", () => { if (pulse) show("lost", pulse.dataset.lost); });
  document.addEventListener("ended", () => location.assign("/login?next=" + encodeURIComponent(location.pathname + location.search)));
  if (pulse && document.querySelector("[hx-sse\\:connect]")) {
    setInterval(() => {
      const silent = Date.now() - heard;
      if (silent > SILENT_MS) show("lost", pulse.dataset.stale.replace("{seconds}", String(Math.round(silent / 1000))));
    }, 1000);
  }

  // News are the same for everybody; what makes a form this session's own is put in here.
  function sign() {
    const main = document.getElementById("main");
    for (const one of main.querySelectorAll("input[name=csrf]")) if (!one.value) one.value = main.dataset.csrf;
  }

  // --- charts: the page carries the numbers as JSON, the colours are the style sheet's --------------------------
  const drawn = new WeakMap();
  const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

  function formatter(data) {
    return (value) => value == null ? "" : data.before + new Intl.NumberFormat(document.documentElement.lang, { maximumFractionDigits: Math.abs(value) < 100 ? 2 : 0 }).format(value) + data.after;
  }

  function options(data, width) {
    const money = formatter(data);
    const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { show: false }, font: "12px system-ui, sans-serif" };
    const series = [{ label: data.labels[0], value: (_, at) => at == null ? "" : data.days[data.x.indexOf(at)] ?? "" }];
    data.series.forEach((one) => {
      const stroke = colour(one.colour);
      const line = { label: one.label, stroke, width: one.kind === "band" ? 0 : 2, dash: one.dash ? [6, 4] : undefined, value: (_, v) => money(v), points: { show: false }, spanGaps: false };
      if (one.kind === "bars") Object.assign(line, { paths: uPlot.paths.bars({ size: [0.7, 40] }), fill: stroke, width: 0 });
      if (one.kind === "step") line.paths = uPlot.paths.stepped({ align: 1 });
      series.push(line);
    });
    const bars = data.series.some((one) => one.kind === "bars");
    return {
      width, height: Math.max(220, Math.min(340, width * 0.42)), series,
      bands: (data.bands || []).map((pair) => ({ series: pair, fill: colour("track") })),
      scales: { x: { time: false, range: (_, low, high) => (bars ? [low - 0.6, high + 0.6] : [low, high]) }, y: { range: (_, low, high) => [0, Math.max(high * 1.06, 1e-9)] } },
      axes: [
        { ...axis, values: (_, splits) => splits.map((at) => data.short[data.x.indexOf(at)] ?? ""), incrs: [1, 2, 3, 5, 7, 10, 14, 30], space: 55 },
        { ...axis, values: (_, splits) => splits.map(money), size: 72 },
      ],
      cursor: { drag: { x: false, y: false } },
      legend: { live: true },
    };
  }

  function draw() {
    if (typeof uPlot === "undefined") return;
    for (const figure of document.querySelectorAll("figure[data-chart]")) {
      const source = figure.querySelector("script");
      if (!source) continue;
      const known = drawn.get(figure);
      const key = source.textContent + document.documentElement.dataset.theme + figure.clientWidth;
      if (known && known.key === key && figure.querySelector(".uplot")) continue;
      if (known) known.plot.destroy();
      const data = JSON.parse(source.textContent);
      const plot = new uPlot(options(data, figure.clientWidth), [data.x, ...data.series.map((one) => one.values)], figure);
      drawn.set(figure, { key, plot });
    }
  }
  function redraw() {
    for (const figure of document.querySelectorAll("figure[data-chart]")) { const known = drawn.get(figure); if (known) known.key = ""; }
    draw();
  }
  let resizing = 0;
  addEventListener("resize", () => { clearTimeout(resizing); resizing = setTimeout(draw, 120); });
  for (const query of ["(prefers-color-scheme: dark)", "print"]) matchMedia(query).addEventListener("change", redraw); // paper has its own colours

  // --- theme, copying -----------------------------------------------------------------------------------
  document.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.themeSet) {
      document.documentElement.dataset.theme = button.dataset.themeSet;
      document.cookie = `spendgate_theme=${button.dataset.themeSet}; path=/; max-age=31536000; SameSite=Strict`;
      for (const one of document.querySelectorAll("[data-theme-set]")) one.setAttribute("aria-pressed", String(one === button));
      draw();
    } else if (button.dataset.copy !== undefined) {
      const text = button.parentElement.querySelector("pre").textContent;
      navigator.clipboard.writeText(text).then(() => { button.textContent = button.dataset.copied; });
    }
  });
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) if (!menu.contains(event.target)) menu.open = false;
  });
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    for (const menu of document.querySelectorAll("details.menu[open]")) { menu.open = false; menu.querySelector("summary").focus(); }
  });
  draw();
})();
