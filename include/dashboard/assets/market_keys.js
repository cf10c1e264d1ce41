/* The market page by keys, and its search: market_page.KEYS is the list that the help shows. */
(function () {
  "use strict";
  const page = window.marketPage;
  const $ = (selector) => document.querySelector(selector);
  const timeframes = { 1: "1m", 5: "5m", q: "15m", h: "1h", d: "1d" };
  const rows = () => [...document.querySelectorAll(".watchlist .row")].filter((row) => !row.hidden);

  function press(selector) {
    const link = $(selector);
    if (link) link.click();
  }

  function step(by) {
    const shown = rows();
    const place = shown.findIndex((row) => row.matches(".chosen"));
    const next = shown[Math.min(shown.length - 1, Math.max(0, place + by))];
    if (!next) return;
    next.querySelector("a").click();
    next.scrollIntoView({ block: "nearest" });
  }

  const keys = {
    "/": () => { $("#search").focus(); $("#search").select(); },
    "?": () => $("#help").showModal(),
    ArrowDown: () => step(1),
    ArrowUp: () => step(-1),
    ArrowLeft: () => page.shift(-0.25, 1),
    ArrowRight: () => page.shift(0.25, 1),
    "+": () => page.shift(0, 0.7),
    "=": () => page.shift(0, 0.7),
    "-": () => page.shift(0, 1.4),
    0: () => page.backToNow(),
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, textarea, select, [contenteditable], dialog");
    if (!$("#watchlist") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.id === "search") return searching(event);
    if (typing) return;
    const does = keys[event.key] || (timeframes[event.key.toLowerCase()]
      && (() => press(`[data-timeframe="${timeframes[event.key.toLowerCase()]}"] a`)));
    if (!does) return;
    event.preventDefault();
    does();
  });

  /* What is typed narrows the list; Enter takes its first, Escape gives all back. */
  function narrow() {
    const wanted = $("#search").value.trim().toLowerCase();
    let found = 0;
    for (const row of document.querySelectorAll(".watchlist .row")) {
      const words = row.dataset.symbol + " " + (row.querySelector(".name") || {}).textContent;
      row.hidden = !words.toLowerCase().includes(wanted);
      found += row.hidden ? 0 : 1;
    }
    $("#none-found").hidden = found > 0;
  }

  function searching(event) {
    if (event.key === "Escape" || event.key === "Enter") {
      const first = event.key === "Enter" && $("#search").value.trim() && rows()[0];
      if (first) first.querySelector("a").click();
      const input = $("#search");
      Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value").set.call(input, "");
      input.dispatchEvent(new Event("input", { bubbles: true }));
      input.blur();
    }
  }

  document.addEventListener("input", (event) => { if (event.target.id === "search") narrow(); });
  document.addEventListener("click", (event) => {
    if (event.target.id === "show-help") $("#help").showModal();
    if (event.target.id === "close-help" || event.target.id === "help") $("#help").close();
  });
})();
