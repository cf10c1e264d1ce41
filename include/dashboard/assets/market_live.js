/* What comes by itself: over a websocket, and while none holds, by asking every ten seconds. Both bring the same
   messages (include/dashboard/live.py). */
(function () {
  "use strict";
  const page = window.marketPage;
  const { age } = page;
  const POLL_MS = 10000, SILENT_MS = 6000, LONGEST_PAUSE_MS = 8000;
  /* A live market says something within this. */
  const STALE_AFTER = 120, STREAM_AFTER = 10;
  const PIXELS_KEPT = 300, ANEW_MS = 60000;

  let socket = null;
  let pause = 500;
  let polling = null;
  let heard = 0;
  let transport = "none";
  let status = null;
  let offset = 0;
  let redraws = 0;
  let drawnAt = Date.now();
  let connections = 0;
  /* How often the page was hidden or shown: what was waited for meanwhile is no wait for pixels. */
  let turns = 0;
  document.addEventListener("visibilitychange", () => { turns++; });
  let wasDown = false;
  let alerts = null;

  const onPage = () => Boolean(document.getElementById("watchlist"));
  page.redraw = () => {
    drawnAt = Date.now();
    window.dash_clientside.set_props("redraw", { data: ++redraws });
  };

  /* Gaps that were filled, courses, the foot, what came very late: none of it is pushed. */
  function freshen() {
    if (Date.now() - drawnAt > ANEW_MS && onPage() && !document.hidden && !page.isDragging()) page.redraw();
  }

  /* React keeps the text node: its data may change under it, the node itself may not. */
  function write(cell, text) {
    if (cell && cell.firstChild && cell.firstChild.data !== text) cell.firstChild.data = text;
  }

  function show(cells, root, exact) {
    const price = root.querySelector(".price"), change = root.querySelector(".change");
    write(price, cells.price);
    if (exact && price) price.setAttribute("data-price", cells.exact);
    write(change, cells.change);
    if (change) { change.className = "change " + cells.direction; change.title = cells.spoken; }
  }

  /* From the moment of a price until it is painted, of the newest pushed: what a frame shows is on the screen when the
     task after its callbacks runs. */
  const pixels = [];
  function painted(prices) {
    if (transport !== "push" || document.hidden) return;
    const turn = turns;
    requestAnimationFrame(() => setTimeout(() => {
      if (turn !== turns) return;
      const now = Date.now() + offset;
      pixels.push(...Object.values(prices).map((cells) => Math.max(0, now - cells.asOf)));
      pixels.splice(0, pixels.length - PIXELS_KEPT);
    }));
  }

  function pixelWords() {
    if (!pixels.length) return "";
    const sorted = [...pixels].sort((one, other) => one - other);
    const at = (share) => (sorted[Math.ceil(share * sorted.length) - 1] / 1000).toFixed(1) + " s";
    return "; from event to pixel " + at(0.5) + ", p99 " + at(0.99) + " of the last " + sorted.length + " prices";
  }

  const apply = {
    prices: function (message) {
      painted(message.prices);
      for (const row of document.querySelectorAll(".watchlist .row")) {
        const cells = message.prices[row.dataset.symbol];
        if (!cells) continue;
        /* Its first price: the row has no place for it yet. */
        if (!row.querySelector(".age")) { page.redraw(); return; }
        show(cells, row, true);
        write(row.querySelector(".source"), cells.source);
        row.querySelector(".age").dataset.at = cells.asOf;
      }
      const now = document.querySelector(".instrument .now");
      const cells = now && message.prices[now.dataset.symbol];
      if (cells) show(cells, now, false);
    },

    status: function (message) {
      status = message;
      offset = message.now - Date.now();
      if (message.database && wasDown) page.redraw();
      wasDown = !message.database;
      if (message.alerts && message.alerts !== alerts) {
        alerts = message.alerts;
        window.dash_clientside.set_props("alerts-version", { data: alerts });
      }
      window.dash_clientside.set_props("board", {
        data: { now: message.now, newest: message.newest, reachable: message.database },
      });
      const session = document.getElementById("session");
      if (session && message.database) {
        const open = message.open.includes(session.dataset.market);
        session.textContent = open ? "market open" : "market closed";
        session.className = "session " + (open ? "open" : "closed");
      }
    },

    chart: function (message) {
      charts.push(message);
      if (document.hidden) draw();
      else if (charts.length === 1) requestAnimationFrame(() => setTimeout(draw));
    },
  };

  /* A chart takes as long to draw as several frames: what came with it is painted first. */
  const charts = [];
  function draw() {
    for (const message of charts.splice(0)) page.extend(message);
  }

  function receive(messages, by) {
    heard = Date.now();
    transport = by;
    for (const message of messages) apply[message.type](message);
  }

  async function poll() {
    const wanted = new URLSearchParams({ search: window.location.search.slice(0, 400) });
    const since = page.since();
    if (since) wanted.set("since", since);
    try {
      const answer = await fetch("/live?" + wanted, { cache: "no-store", signal: AbortSignal.timeout(8000) });
      if (!answer.ok) throw new Error(answer.status);
      const messages = await answer.json();
      if (polling) receive(messages, "poll");
    } catch (error) {
      if (polling) transport = "none";
    }
  }

  function fallBack() {
    if (polling) return;
    polling = setInterval(poll, POLL_MS);
    poll();
  }

  function connect() {
    if (!onPage()) { setTimeout(connect, 500); return; }
    const scheme = window.location.protocol === "https:" ? "wss://" : "ws://";
    const opened = new WebSocket(scheme + window.location.host + "/live?search="
      + encodeURIComponent(window.location.search.slice(0, 400)));
    socket = opened;
    opened.onopen = () => {
      /* Another symbol may have been chosen meanwhile, and more may have come than is pushed. */
      opened.send(window.location.search.slice(0, 400));
      if (++connections > 1) page.redraw();
    };
    opened.onmessage = (event) => {
      if (socket !== opened) return;
      pause = 500;
      clearInterval(polling);
      polling = null;
      receive(JSON.parse(event.data), "push");
    };
    opened.onclose = () => {
      if (socket !== opened) return;
      socket = null;
      /* Refused: either no socket holds here, or the server is gone, and a question tells which. */
      if (polling) poll();
      else fallBack();
      setTimeout(connect, pause * (0.5 + Math.random() / 2));
      pause = Math.min(LONGEST_PAUSE_MS, 2 * pause);
    };
  }
  connect();

  function clock() {
    if (!status) return ["Connecting", "freshness waiting", "waiting for the first answer"];
    const silent = (Date.now() - heard) / 1000;
    const seconds = status.newest === null ? null : (Date.now() + offset - status.newest) / 1000;
    const known = seconds === null ? "" : " · data " + age(seconds) + " old";
    const how = transport === "push" ? "pushed as it comes" : "asked for every 10 seconds, for no websocket holds";
    if (transport === "none" || silent > (transport === "push" ? 8 : 22)) {
      return ["Connection lost" + known, "freshness trouble", "the server does not answer; showing what was known last"];
    }
    if (!status.database) return ["Database down" + known, "freshness trouble", "showing what was known last"];
    if (status.stream !== null && status.stream > STREAM_AFTER) {
      return ["Stream down" + known, "freshness trouble", "no sign of life of the stream for " + age(status.stream)];
    }
    if (!status.redis) return ["Cache down" + known, "freshness trouble", "prices come from the database, every 2 seconds"];
    if (seconds === null) return ["Waiting for prices", "freshness waiting", "no price has come yet"];
    if (seconds > STALE_AFTER) return ["Stale · " + age(seconds), "freshness trouble", "the newest price is " + age(seconds) + " old"];
    return [(transport === "push" ? "Live · " : "Polling · ") + age(seconds), "freshness good",
      "the newest price is " + age(seconds) + " old; " + how + pixelWords()];
  }

  /* Until the running candle ends: windows begin at whole multiples of their length. */
  function countdown() {
    const cell = document.getElementById("countdown");
    const session = document.getElementById("session");
    const seconds = page.running();
    if (!cell) return;
    if (!status || !seconds || !session || !session.classList.contains("open")) { cell.textContent = ""; return; }
    const left = seconds - Math.floor((Date.now() + offset) / 1000) % seconds;
    const parts = [left >= 3600 ? [Math.floor(left / 3600)] : [], Math.floor(left / 60) % 60, left % 60].flat();
    cell.textContent = parts.map((part, place) => (place ? String(part).padStart(2, "0") : part)).join(":");
  }

  setInterval(() => {
    countdown();
    freshen();
    for (const cell of document.querySelectorAll(".watchlist .age")) {
      write(cell, age((Date.now() + offset - Number(cell.dataset.at)) / 1000));
    }
    /* A socket that says nothing is none. */
    if (socket && heard && transport === "push" && Date.now() - heard > SILENT_MS) socket.close();
  }, 1000);

  Object.assign(window.dash_clientside.market, {
    freshness: function () {
      page.attach();
      return clock();
    },

    /* The server is told what is shown by now. */
    watch: function (search) {
      if (socket && socket.readyState === WebSocket.OPEN) socket.send((search || "").slice(0, 400));
      return "Search a symbol";
    },
  });
})();
