/* The chart: the server's figure in the reader's own zoom, its end as it is pushed, and the legend under the crosshair. */
(function () {
  "use strict";
  const page = window.marketPage;
  const { span } = page;
  /* So many candles are kept while the page stays open; a new drawing brings the usual number. */
  const MOST = 3000;
  const chart = () => document.querySelector("#chart .js-plotly-plot");
  const time = (text) => Date.parse(/[zZ]|[+-]\d\d:\d\d$/.test(text) ? text : text.replace(" ", "T") + "Z");
  const moment = (edge) => (typeof edge === "number" ? edge : time(String(edge)));
  const text = (milliseconds) => new Date(milliseconds).toISOString().slice(0, 19);

  let latest = null;
  let hovered = null;
  let zoomed = false;
  /* The range that the server's figure opened on. */
  let opened = null;
  let dragging = false;
  document.addEventListener("pointerdown", (event) => {
    dragging = event.button === 0 && Boolean(event.target.closest("#chart"));
  });
  for (const end of ["pointerup", "pointercancel", "contextmenu"]) document.addEventListener(end, () => { dragging = false; });
  window.addEventListener("blur", () => { dragging = false; });

  /* Price and volume ranges of what lies between two moments; null if nothing does. */
  function ranges(data, range) {
    const [from, to] = range.map(moment);
    let low = Infinity, high = -Infinity, most = 0;
    for (const trace of data) {
      const isLine = trace.mode === "lines" && !trace.yaxis;
      if (trace.type !== "bar" && trace.type !== "candlestick" && !isLine) continue;
      for (let i = 0; i < trace.x.length; i++) {
        const at = time(trace.x[i]);
        if (at < from || at > to) continue;
        if (trace.type === "bar") { most = Math.max(most, trace.y[i] || 0); continue; }
        const [lowest, highest] = isLine ? [trace.y[i], trace.y[i]] : [trace.low[i], trace.high[i]];
        if (lowest === null) continue;
        low = Math.min(low, lowest);
        high = Math.max(high, highest);
      }
    }
    if (low > high) return null;
    const pad = (high - low || high * 0.01) * 0.06;
    return { price: [low - pad, high + pad], volume: [0, most * 1.05 || 1] };
  }

  const volume = (figure) => figure.data.find((trace) => trace.name === "volume");

  function mark(state) {
    zoomed = state;
    document.querySelector(".chart").toggleAttribute("data-zoomed", state);
  }

  /* The address holds the range in view, so that it can be shared; it is no new question to the server. */
  function remember(range) {
    const wanted = new URLSearchParams(window.location.search);
    for (const [name, edge] of [["from", range && range[0]], ["to", range && range[1]]]) {
      if (range) wanted.set(name, text(moment(edge)));
      else wanted.delete(name);
    }
    const search = wanted.toString().replace(/%2C/g, ",").replace(/%3A/g, ":");
    window.history.replaceState(window.history.state, "", search ? "?" + search : window.location.pathname);
  }

  /* Where the loaded candles end there are more in the store. */
  function needsMore(range) {
    const [from, to] = range.map(moment);
    const times = volume(latest).x;
    if (!times.length) return false;
    const width = latest.layout.meta.seconds * 1000;
    const isBefore = from < time(times[0]) - width && times.length >= 500;
    const isAfter = !latest.layout.meta.isLive && to > time(times[times.length - 1]) + width;
    return isBefore || isAfter;
  }

  /* The whole address, for the page's own copy of it knows nothing of `remember` and would bring the old one back. */
  function ask(search) {
    window.dash_clientside.set_props("url", { search, href: window.location.origin + window.location.pathname + search });
  }

  function backToNow() {
    if (!latest) return;
    remember(null);
    mark(false);
    const drawn = chart();
    if (drawn && drawn.layout && latest.layout.meta.isLive && !latest.layout.meta.ranged) {
      const { xaxis, yaxis, yaxis2 } = latest.layout;
      window.Plotly.relayout(drawn, {
        "xaxis.range": xaxis.range, "yaxis.range": yaxis.range, "yaxis2.range": yaxis2.range,
      });
    } else ask(window.location.search);
  }

  let asking = null;
  function moved() {
    const drawn = chart();
    if (!latest || !drawn || !drawn.layout) return;
    const range = drawn.layout.xaxis.range;
    mark(true);
    remember(range);
    const fit = ranges(drawn.data, range);
    if (fit) window.Plotly.relayout(drawn, { "yaxis.range": fit.price, "yaxis2.range": fit.volume });
    clearTimeout(asking);
    if (needsMore(range)) asking = setTimeout(() => ask(window.location.search), 250);
  }

  function attach() {
    const drawn = chart();
    if (!drawn || !drawn.on || drawn.dataset.attached) return;
    drawn.dataset.attached = "true";
    /* Only a reader's gesture names the two ends of the range. */
    drawn.on("plotly_relayout", (change) => {
      if ("xaxis.range[0]" in change) moved();
      /* The framework answers with the figure that it was given last, and knows nothing of what was pushed since. */
      if (latest) window.dash_clientside.set_props("chart", { figure: fitted(latest) });
    });
    drawn.on("plotly_doubleclick", backToNow);
    document.getElementById("back-to-now").addEventListener("click", backToNow);
    document.getElementById("export-png").addEventListener("click", () => {
      if (!latest) return;
      const { symbol, timeframe } = latest.layout.meta;
      window.Plotly.downloadImage(drawn, { format: "png", scale: 2, filename: symbol + "-" + timeframe });
    });
  }

  /* By keys: a share of what is in view to one side, or closer and wider about its right edge. */
  function shift(share, zoom) {
    const drawn = chart();
    if (!latest || !drawn || !drawn.layout) return;
    const [from, to] = drawn.layout.xaxis.range.map(moment);
    const width = (to - from) * zoom;
    const end = to + share * (to - from);
    window.Plotly.relayout(drawn, { "xaxis.range[0]": text(end - width), "xaxis.range[1]": text(end) });
  }

  /* In the reader's own zoom if there is one. */
  function fitted(figure) {
    const drawn = chart();
    /* Not drawn yet: it opens on the range that the figure has. */
    if (!zoomed || !drawn || !drawn.layout) return figure;
    const range = drawn.layout.xaxis.range;
    const fit = ranges(figure.data, range);
    const { xaxis, yaxis, yaxis2 } = figure.layout;
    const layout = Object.assign({}, figure.layout, { xaxis: Object.assign({}, xaxis, { range }) });
    if (fit) {
      layout.yaxis = Object.assign({}, yaxis, { range: fit.price });
      layout.yaxis2 = Object.assign({}, yaxis2, { range: fit.volume });
    }
    return { data: figure.data, layout };
  }

  const shade = (legend) => latest.layout.meta.shades[legend[6]][legend[8]];

  /* All points from a moment on are replaced by those that came. */
  function joined(trace, points, from) {
    let cut = trace.x.length;
    while (cut > 0 && trace.x[cut - 1] >= from) cut--;
    const drop = Math.max(0, cut - MOST);
    const found = Object.assign({}, trace);
    for (const [name, values] of Object.entries(points)) {
      const [outer, inner] = name.split(".");
      if (inner) found[outer] = Object.assign({}, found[outer], { [inner]: trace[outer][inner].slice(drop, cut).concat(values) });
      else found[name] = trace[name].slice(drop, cut).concat(values);
    }
    if (found.name === "volume") found.marker = Object.assign({}, found.marker, { color: found.customdata.map(shade) });
    return found;
  }

  function priced(layout, last) {
    const colour = last.isUp ? layout.meta.up : layout.meta.down;
    const [line, ...shapes] = layout.shapes || [];
    const [label] = layout.annotations || [];
    if (!line || !label) return layout;
    return Object.assign({}, layout, {
      shapes: [Object.assign({}, line, { y0: last.y, y1: last.y, line: Object.assign({}, line.line, { color: colour }) }), ...shapes],
      annotations: [Object.assign({}, label, { y: last.y, text: last.text, bgcolor: colour })],
    });
  }

  /* The view follows the newest candle and holds as many as before: a night takes no room in it. */
  function followed(figure, before) {
    const times = volume(figure).x;
    const layout = Object.assign({}, figure.layout);
    const [from, to] = layout.xaxis.range.map(moment);
    const newest = time(times[times.length - 1]), last = time(before[before.length - 1]);
    const held = before.filter((each) => time(each) >= from);
    let range = layout.xaxis.range;
    if (newest > last && held.length) {
      const first = time(times[Math.max(0, times.length - held.length)]);
      range = [text(first - (time(held[0]) - from)), text(newest + (to - last))];
    }
    const fit = ranges(figure.data, range);
    layout.xaxis = Object.assign({}, layout.xaxis, { range });
    if (fit) {
      layout.yaxis = Object.assign({}, layout.yaxis, { range: fit.price });
      layout.yaxis2 = Object.assign({}, layout.yaxis2, { range: fit.volume });
    }
    return { data: figure.data, layout };
  }

  /* What was pushed; for another chart than the one shown it is nothing. */
  function extend(message) {
    const meta = latest && latest.layout.meta;
    if (!meta || !meta.isLive || meta.key !== message.chart) return;
    const before = volume(latest).x;
    /* It does not reach back to what is drawn: more was missed than is pushed. */
    if (!before.length || time(message.from) > time(before[before.length - 1]) + 1000 * meta.seconds) { page.redraw(); return; }
    const data = latest.data.map((trace) =>
      message.traces[trace.name] ? joined(trace, message.traces[trace.name], message.from) : trace);
    latest = followed({ data, layout: priced(latest.layout, message.last) }, before);
    /* A new drawing would tear the chart out of the reader's hand: the next one brings it. */
    if (!dragging) redraw();
  }

  /* Past the page's framework, which would go through all of its components for it. */
  function redraw() {
    const drawn = chart(), figure = fitted(latest);
    if (!drawn || !drawn.layout) { window.dash_clientside.set_props("chart", { figure }); return; }
    /* Plotly writes a reader's zoom into the layout that it was given. */
    window.Plotly.react(drawn, figure.data, structuredClone(figure.layout));
    window.dash_clientside.set_props("legend", { children: legend(hovered) });
  }

  /* Open, high, low, close and volume under the crosshair; of the newest candle without one. */
  function legend(hover) {
    if (!latest) return "";
    const bars = volume(latest);
    const x = hover && hover.points && hover.points.length ? String(hover.points[0].x).replace(" ", "T") : null;
    const wanted = x && x.length === 16 ? x + ":00" : x;
    const found = wanted ? bars.x.lastIndexOf(wanted) : -1;
    const place = found < 0 ? bars.x.length - 1 : found;
    const row = bars.customdata && bars.customdata[place];
    if (!row) return "";
    const [open, high, low, close, amount, at, direction, source, state] = row;
    const decimals = (close.split(".")[1] || "").length;
    const figures = [["O", open], ["H", high], ["L", low], ["C", close], ["Vol", amount]];
    const lines = latest.data.filter((trace) => trace.meta && trace.meta.label).map((trace) => {
      const value = trace.y[trace.x.lastIndexOf(bars.x[place])];
      const shown = value === null || value === undefined ? "–"
        : trace.meta.is_percent ? (100 * value).toFixed(3) + " %"
          : value.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: Math.max(2, decimals) });
      return span([span(trace.meta.label, "what"), span(shown, "")], "pair");
    });
    return [span(at, "moment"), ...figures.map(([name, value]) =>
      span([span(name, "what"), span(value, name === "Vol" ? "" : direction)], "pair")),
    span(source, "state"), ...lines].concat(state ? [span(state, "state")] : []);
  }

  Object.assign(page, {
    attach, backToNow, extend, shift,
    /* From here on the page has nothing: the server adds what may still change. */
    since: () => {
      const times = latest ? volume(latest).x : [];
      return times.length > 1 ? times[times.length - 2] : null;
    },
    isDragging: () => dragging,
    /* Seconds of the running candle's window; null where the chart does not reach to now. */
    running: () => (latest && latest.layout.meta.isLive && volume(latest).x.length ? latest.layout.meta.seconds : null),
  });

  Object.assign(window.dash_clientside.market, {
    /* The server's figure. */
    fitted: function (figure) {
      if (!figure) return window.dash_clientside.no_update;
      attach();
      const same = latest && latest.layout.uirevision === figure.layout.uirevision;
      if (!same) mark(false);
      const range = String(figure.layout.xaxis.range), isNew = range !== opened;
      latest = figure;
      opened = range;
      if (figure.layout.meta.ranged && (isNew || !zoomed)) { mark(true); return figure; }
      /* Another layer, or the same anew: the address keeps the reader's range. */
      if (zoomed && chart() && chart().layout) remember(chart().layout.xaxis.range);
      return fitted(figure);
    },

    legend: function (hover) {
      hovered = hover;
      return legend(hover);
    },
  });
})();
