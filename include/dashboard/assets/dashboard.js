/* The browser's part of the page: what must not wait for the server. */
(function () {
  "use strict";
  const LOST_AFTER_MS = 16000;
  /* What the clock in the header says: of the newest price, or of the newest run of the checks. */
  const PRICES = {
    none: "Waiting for prices", noneTitle: "no price has come yet", staleAfter: 120,
    good: "Connected", stale: "Stale", what: "the newest price is ",
  };
  const CHECKS = {
    none: "Never checked", noneTitle: "no run of the checks has ended yet", staleAfter: 1800,
    good: "Checked", stale: "Not checked", what: "the newest run of the checks is ",
  };
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
  const chart = () => document.querySelector("#chart .js-plotly-plot");
  const time = (text) => Date.parse(/[zZ]|[+-]\d\d:\d\d$/.test(text) ? text : text.replace(" ", "T") + "Z");

  /* Mantine writes the scheme that holds onto the document, whether chosen or the system's. */
  const root = document.documentElement;
  const scheme = () => root.getAttribute("data-mantine-color-scheme")
    || (window.matchMedia("(prefers-color-scheme: light)").matches ? "light" : "dark");
  new MutationObserver(() => window.dash_clientside.set_props("appearance", { data: scheme() }))
    .observe(root, { attributeFilter: ["data-mantine-color-scheme"] });

  /* Price and volume ranges of what lies between two moments; null if nothing does. */
  function ranges(data, range) {
    const [from, to] = range.map((edge) => (typeof edge === "number" ? edge : time(String(edge))));
    let low = Infinity, high = -Infinity, most = 0;
    for (const trace of data) {
      for (let i = 0; i < trace.x.length; i++) {
        const at = time(trace.x[i]);
        if (at < from || at > to) continue;
        if (trace.type === "bar") { most = Math.max(most, trace.y[i] || 0); continue; }
        low = Math.min(low, trace.low[i]);
        high = Math.max(high, trace.high[i]);
      }
    }
    if (low > high) return null;
    const pad = (high - low || high * 0.01) * 0.06;
    return { price: [low - pad, high + pad], volume: [0, most * 1.05 || 1] };
  }

  /* The reader's own zoom outlives every refresh of the same chart; without one the chart follows the
     newest candle. Plotly's uirevision alone would drop the zoom as soon as the server's window moves on. */
  let latest = null;
  let zoomed = false;
  let dragging = false;
  document.addEventListener("pointerdown", (event) => { dragging = Boolean(event.target.closest("#chart")); });
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, () => { dragging = false; });

  function mark(state) {
    zoomed = state;
    document.querySelector(".chart").toggleAttribute("data-zoomed", state);
  }

  function backToNow() {
    const { xaxis, yaxis, yaxis2 } = latest.layout;
    mark(false);
    window.Plotly.relayout(chart(), {
      "xaxis.range": xaxis.range, "yaxis.range": yaxis.range, "yaxis2.range": yaxis2.range,
    });
  }

  function attach() {
    const drawn = chart();
    if (!drawn || !drawn.on || drawn.dataset.attached) return;
    drawn.dataset.attached = "true";
    drawn.on("plotly_relayout", (change) => {
      /* Only a reader's gesture names the two ends of the range. */
      if (!("xaxis.range[0]" in change)) return;
      mark(true);
      const fit = ranges(drawn.data, drawn.layout.xaxis.range);
      if (fit) window.Plotly.relayout(drawn, { "yaxis.range": fit.price, "yaxis2.range": fit.volume });
    });
    drawn.on("plotly_doubleclick", backToNow);
    document.getElementById("back-to-now").addEventListener("click", backToNow);
  }

  /* Counts on between answers, so that a silent server is seen. */
  function ageOf(board, words) {
    const now = Date.now();
    if (!board) return ["Connecting", "freshness waiting", "waiting for the first answer"];
    if (board !== counted) { counted = board; received = now; }
    const silent = now - received;
    if (silent > LOST_AFTER_MS) {
      return ["Connection lost · " + age(silent / 1000), "freshness trouble", "the server does not answer"];
    }
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

  window.dash_clientside = Object.assign({}, window.dash_clientside, {
    market: {
      /* The server's figure, in the reader's own zoom if there is one. */
      fitted: function (figure) {
        if (!figure) return window.dash_clientside.no_update;
        attach();
        const same = latest && latest.layout.uirevision === figure.layout.uirevision;
        /* A new drawing would tear the chart out of the reader's hand: the next refresh brings it. */
        if (same && dragging) return window.dash_clientside.no_update;
        if (!same) mark(false);
        latest = figure;
        if (!zoomed) return figure;
        const range = chart().layout.xaxis.range;
        const fit = ranges(figure.data, range);
        const { xaxis, yaxis, yaxis2 } = figure.layout;
        const layout = Object.assign({}, figure.layout, { xaxis: Object.assign({}, xaxis, { range }) });
        if (fit) {
          layout.yaxis = Object.assign({}, yaxis, { range: fit.price });
          layout.yaxis2 = Object.assign({}, yaxis2, { range: fit.volume });
        }
        return { data: figure.data, layout };
      },

      /* Open, high, low, close and volume under the crosshair; of the newest candle without one. */
      legend: function (hover, figure) {
        if (!figure) return "";
        const rows = figure.data[2].customdata;
        const point = hover && hover.points && hover.points.find((each) => each.customdata);
        const row = point ? point.customdata : rows[rows.length - 1];
        if (!row) return "";
        const [open, high, low, close, volume, moment, direction, state] = row;
        const figures = [["O", open], ["H", high], ["L", low], ["C", close], ["Vol", volume]];
        return [span(moment, "moment"), ...figures.map(([name, value]) =>
          span([span(name, "what"), span(value, name === "Vol" ? "" : direction)], "pair")),
        ].concat(state ? [span(state, "state")] : []);
      },

      freshness: function (_tick, board) {
        attach();
        return ageOf(board, PRICES);
      },

      checkedAge: (_tick, checked) => ageOf(checked, CHECKS),

      /* A point of the pass rate leads to its run; the rest of the address stays. */
      run: function (click, search) {
        const point = click && click.points.find((each) => each.customdata);
        if (!point) return window.dash_clientside.no_update;
        const wanted = new URLSearchParams(search || "");
        wanted.set("run", point.customdata);
        return "?" + wanted.toString();
      },

      title: function (path) {
        document.title = (path === "/quality" ? "Quality · " : "") + "Market Data Platform";
        return document.title;
      },

      appearance: scheme,

      palette: (blueOrange) => (blueOrange ? "shell blue-orange" : "shell"),
    },
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
