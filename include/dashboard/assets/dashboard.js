/* The browser's part of all pages: what must not wait for the server. */
(function () {
  "use strict";
  const LOST_AFTER_MS = 16000;
  /* What the clock in the header says: of the newest run of the checks. The market page's: market_live.js. */
  const CHECKS = {
    none: "Never checked", noneTitle: "no run of the checks has ended yet", staleAfter: 1800,
    good: "Checked", stale: "Not checked", what: "the newest run of the checks is ",
  };
  const PAGES = { "/quality": "Quality · ", "/operations": "Operations · " };
  let received = 0;
  let counted = null;

  const age = (seconds) => {
    const whole = Math.max(0, Math.floor(seconds));
    if (whole >= 86400) return Math.floor(whole / 86400) + "d";
    if (whole >= 3600) return Math.floor(whole / 3600) + "h";
    if (whole >= 60) return Math.floor(whole / 60) + "m";
    return whole + "s";
  };
  const span = (children, className) => ({
    namespace: "dash_html_components", type: "Span", props: { children, className },
  });

  /* Mantine writes the scheme that holds onto the document, whether chosen or the system's. */
  const root = document.documentElement;
  const scheme = () => root.getAttribute("data-mantine-color-scheme")
    || (window.matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
  new MutationObserver(() => window.dash_clientside.set_props("appearance", { data: scheme() }))
    .observe(root, { attributeFilter: ["data-mantine-color-scheme"] });

  /* Counts on between answers, so that a silent server is seen. */
  function counting(told, words) {
    const now = Date.now();
    if (!told) return ["Connecting", "freshness waiting", "waiting for the first answer"];
    if (told !== counted) { counted = told; received = now; }
    const silent = now - received;
    if (silent > LOST_AFTER_MS) {
      return ["Connection lost · " + age(silent / 1000), "freshness trouble", "the server does not answer"];
    }
    return words(silent);
  }

  function checkedWords(board, words, silent) {
    const seconds = board.newest === null ? null : (board.now - board.newest + silent) / 1000;
    if (!board.reachable) {
      const known = seconds === null ? "" : " · data " + age(seconds) + " old";
      return ["Database down" + known, "freshness trouble", "showing what was known last"];
    }
    if (seconds === null) return [words.none, "freshness waiting", words.noneTitle];
    const title = words.what + age(seconds) + " old";
    return seconds > words.staleAfter
      ? [words.stale + " · " + age(seconds), "freshness trouble", title]
      : [words.good + " · " + age(seconds), "freshness good", title];
  }

  window.marketPage = { age, span };
  window.dash_clientside = window.dash_clientside || {};
  window.dash_clientside.market = Object.assign({}, window.dash_clientside.market, {
    checkedAge: (_tick, checked) => counting(checked, (silent) => checkedWords(checked, CHECKS, silent)),

    /* Of the stream, as operations_words.clock_words tells it. */
    heartbeatAge: (_tick, told) => counting(told, (silent) => [
      told.words + (told.seconds === null ? "" : " · " + age(told.seconds + silent / 1000)),
      "freshness " + told.kind, told.title,
    ]),

    /* A point of the pass rate leads to its run; the rest of the address stays. */
    run: function (click, search) {
      const point = click && click.points.find((each) => each.customdata);
      if (!point) return window.dash_clientside.no_update;
      const wanted = new URLSearchParams(search || "");
      wanted.set("run", point.customdata);
      return "?" + wanted.toString();
    },

    title: function (path) {
      document.title = (PAGES[path] || "") + "Market Data Platform";
      return document.title;
    },

    appearance: scheme,

    palette: (blueOrange) => (blueOrange ? "shell blue-orange" : "shell"),
  });

  /* One short flash a changed price, in its direction. */
  const figure = (text) => Number(text.replace(/,/g, ""));
  new MutationObserver((changes) => {
    for (const change of changes) {
      const cell = change.target.parentElement;
      if (!cell || !cell.matches(".watchlist .price")) continue;
      const before = figure(change.oldValue), after = figure(change.target.data);
      if (!(before !== after)) continue;
      cell.classList.remove("flash-up", "flash-down");
      void cell.offsetWidth;
      cell.classList.add(after > before ? "flash-up" : "flash-down");
    }
  }).observe(root, { subtree: true, characterData: true, characterDataOldValue: true });
})();
