// Draws the report from the result in the element with id "result", and from nothing else: every quantile is computed here
// from the histograms' buckets. What comes from the result reaches the page as text only, never as markup.
"use strict";
(() => {
  const root = document.documentElement;
  window.addEventListener("error", (event) => failed(event.error || event.message));
  function failed(what) { root.dataset.error = String((what && what.stack) || what); }

  // ---- Data -------------------------------------------------------------------------------------------------

  const list = (v) => (Array.isArray(v) ? v : []);
  const map = (v) => (v && typeof v === "object" ? v : {});
  const amount = (v) => (Number.isFinite(v) ? v : 0);
  const sum = (values) => values.reduce((a, b) => a + amount(b), 0);

  const classes = {
    refused: "refused the connection, or not reachable", reset: "connection reset", closed: "connection closed before the answer was whole",
    timeout: "no whole answer in time", tls: "no TLS", protocol: "broke its protocol or a limit", status: "a status that is not wanted",
    check: "a check did not hold", local: "the generator's own fault: not counted as a failure of the target",
  };
  const quantiles = [["p50", 0.5, "p50"], ["p90", 0.9, "p90"], ["p99", 0.99, "p99"], ["p999", 0.999, "p99.9"], ["max", 1, "max"]];

  const parsed = new WeakMap();
  // histogram gives the cells of an encoded histogram: bucket i holds m<<s up to ((m+1)<<s)-1 nanoseconds, where
  // s = max(i/256-1, 0) and m = i-256·s. It is null when nothing was recorded.
  function histogram(encoded) {
    if (!encoded || !(encoded.count > 0)) return null;
    if (parsed.has(encoded)) return parsed.get(encoded);
    const each = encoded.sub_buckets || 256;
    const cells = [];
    const pairs = list(encoded.buckets);
    for (let i = 0; i + 1 < pairs.length; i += 2) {
      const shift = Math.max(Math.floor(pairs[i] / each) - 1, 0);
      cells.push({ low: (pairs[i] - each * shift) * 2 ** shift, width: 2 ** shift, count: pairs[i + 1] });
    }
    const h = { cells, count: encoded.count, min: encoded.min_ns, max: encoded.max_ns };
    parsed.set(encoded, h);
    return h;
  }

  // quantile is by nearest rank, in nanoseconds, and is the same as Histogram.Quantile of package hdr.
  function quantile(encoded, q) {
    const h = histogram(encoded);
    if (!h) return null;
    const rank = Math.min(Math.max(Math.ceil(q * h.count - 1e-9 * h.count), 1), h.count);
    if (q <= 0 || rank === 1) return h.min;
    if (rank === h.count) return h.max;
    let seen = 0;
    for (const cell of h.cells) {
      seen += cell.count;
      if (seen >= rank) return Math.min(Math.max(cell.low + Math.floor(cell.width / 2), h.min), h.max);
    }
    return h.max;
  }

  const failures = (w) => sum(Object.entries(map(w.failed)).map(([name, n]) => (name === "local" ? 0 : n)));
  const share = (part, whole) => (whole > 0 ? part / whole : 0);
  const errorShare = (w) => share(failures(w), failures(w) + amount(w.ok));
  const perSecond = (n, w) => (w.seconds > 0 ? amount(n) / w.seconds : null);

  // ---- Numbers as text --------------------------------------------------------------------------------------

  const space = "\u00a0";
  const group = (v, digits) => v.toLocaleString("en-GB", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  const digitsOf = (v) => (v >= 99.95 ? 0 : v >= 9.995 ? 1 : 2);
  const none = (v) => v === null || v === undefined || !Number.isFinite(v);
  const whole = (v) => (none(v) ? "–" : group(v, 0));
  const number = (v) => (none(v) ? "–" : group(v, Number.isInteger(v) || v >= 999.5 ? 0 : v >= 9.995 ? 1 : 2));
  const rate = (v) => (none(v) ? "–" : number(v) + "/s");
  function unit(v, steps, factor) {
    if (none(v)) return "–";
    let i = 0;
    while (i < steps.length - 1 && v >= factor * 0.9995) { v /= factor; i++; }
    return group(v, i === 0 ? 0 : digitsOf(v)) + space + steps[i];
  }
  const time = (v) => unit(v, ["ns", "µs", "ms", "s"], 1000);
  const bytes = (v) => unit(v, ["B", "kB", "MB", "GB", "TB"], 1000);
  const short = (text) => text.replace(/(\.\d*?)0+(?=\D|$)/, "$1").replace(/\.(?=\D|$)/, "");
  function percent(v) {
    if (none(v)) return "–";
    const p = v * 100;
    const shown = p === 0 ? "0" : p === 100 ? "100" : p >= 9.995 ? p.toFixed(1) : p >= 0.0995 ? p.toFixed(2) : short(p.toFixed(4));
    return (shown === "0" && p > 0 ? "< 0.0001" : shown) + space + "%";
  }
  function clock(seconds) {
    if (none(seconds)) return "–";
    if (seconds < 120) return short(group(seconds, 2)) + space + "s";
    const h = Math.floor(seconds / 3600), m = Math.floor(seconds / 60) % 60, s = Math.round(seconds % 60);
    return [h && h + space + "h", m && m + space + "min", s && s + space + "s"].filter(Boolean).join(" ");
  }
  function percentile(q) { return q >= 1 ? "max" : short((q * 100).toFixed(Math.max(Math.ceil(-Math.log10(1 - q)) - 1, 1))) + space + "%"; }

  // ---- Elements ---------------------------------------------------------------------------------------------

  function fill(node, attributes, children) {
    for (const [name, value] of Object.entries(attributes || {})) {
      if (value === true) node.setAttribute(name, "");
      else if (value !== undefined && value !== null && value !== false) node.setAttribute(name, value);
    }
    node.append(...children.flat().filter((c) => c !== null && c !== undefined && c !== false && c !== ""));
    return node;
  }
  const html = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
  const svg = (tag, attributes, ...children) => fill(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);

  // table takes columns as [name, kind] and rows of strings or elements; kind is "text", "wrap" or "" for numbers.
  function table(columns, rows) {
    const kind = (i) => ({ text: "text", wrap: "text wrap" })[columns[i][1]];
    return html("div", { class: "scroll" }, html("table", null,
      html("thead", null, html("tr", null, columns.map(([name], i) => html("th", { scope: "col", class: kind(i) }, name)))),
      html("tbody", null, rows.map((row) => html("tr", null, row.map((cell, i) => html("td", { class: kind(i) }, cell)))))));
  }
  const verdictNames = { pass: ["✓", "Pass"], fail: ["✕", "Fail"], inconclusive: ["?", "Inconclusive"], none: ["–", "No objective"] };
  function verdictOf(v) { return Object.hasOwn(verdictNames, v) ? v : "none"; }
  function word(v) {
    const [sign, name] = verdictNames[verdictOf(v)];
    return html("span", { class: "word " + verdictOf(v) }, sign + space + name);
  }
  function section(parent, title, ...children) {
    const at = html("section", null, html("h2", null, title), children);
    parent.append(at);
    return at;
  }
  const card = (...children) => html("div", { class: "card" }, children);
  const nodata = (text) => html("div", { class: "nodata" }, text || "no data");

  // ---- Scales -----------------------------------------------------------------------------------------------

  const round = (v) => Math.round(v * 10) / 10;
  function scale(axis, from, to) {
    const place = axis.log ? (v) => Math.log(Math.max(v, axis.min)) : (v) => v;
    const low = place(axis.min), span = place(axis.max) - low || 1;
    return (v) => round(from + ((place(v) - low) / span) * (to - from));
  }
  function nice(v, up, fine) { // the next 1, 2 or 5 times a power of ten
    const power = 10 ** Math.floor(Math.log10(v));
    const steps = (fine || [1, 2, 5, 10]).map((s) => s * power);
    return up ? steps.find((s) => s >= v * 0.999999) : steps.findLast((s) => s <= v * 1.000001);
  }
  function linearAxis(max, count) {
    const step = nice((max || 1) / count, true, [1, 2, 2.5, 5, 10]);
    const top = step * Math.max(Math.ceil((max || 1) / step - 1e-9), 1);
    return { min: 0, max: top, ticks: Array.from({ length: Math.round(top / step) + 1 }, (_, i) => i * step) };
  }
  function logAxis(low, high, count) {
    let min = nice(Math.max(low, 1), false), max = nice(Math.max(high, 1), true);
    if (min === max) max = nice(max * 1.5, true);
    const decades = Math.log10(max / min);
    const marks = decades * 3 <= count ? [1, 2, 5] : [1];
    const every = decades > count ? Math.ceil(decades / count) : 1;
    const ticks = [];
    for (let p = Math.floor(Math.log10(min)); p <= Math.log10(max) + 1e-9; p++) {
      for (const m of marks) if ((p % every === 0) && m * 10 ** p >= min * 0.999 && m * 10 ** p <= max * 1.001) ticks.push(m * 10 ** p);
    }
    return { log: true, min, max, ticks };
  }

  // ---- Charts -----------------------------------------------------------------------------------------------

  const charts = [];
  const key = (name, dash, kind) => {
    const line = kind === "area" || kind === "bars" || kind === "late";
    return svg("svg", { width: 16, height: 10, "aria-hidden": "true", style: `--c: var(--${name})` }, line
      ? svg("rect", { class: kind === "late" ? "late" : "bars", width: 16, height: 10, rx: 2 })
      : svg("path", { class: "line" + (dash ? " dash" : ""), d: "M1 5H15" }));
  };

  // chart adds a figure. spec.model(mode) gives what to draw, or null for no data:
  //   at, heading(i): where each sample lies on x, and its name; from, to: its extent, where steps and bars need it
  //   x: {min, max, log, ticks(width), name}; y: {log, format, name}; series: [{key, label, color, kind, dash, values}]
  //   with kind line, step, area, bars (stacked), dots or tip (in the tooltip and the table only), and fromZero where a
  //   zero draws nothing; paint(g, X, Y, box, label) draws below the series
  function chart(parent, spec) {
    const hidden = new Set();
    const self = { spec, draw, select, drawn: 0 };
    let mode = spec.modes ? spec.modes[0][0] : "";
    let model = null, place = null, selected = -1;
    const legend = html("div", { class: "legend" });
    const plot = html("div", { class: "plot" });
    const numbers = html("div", { class: "numbers-table", hidden: true, tabindex: 0, id: spec.id + "-numbers" });
    const modes = (spec.modes || []).map(([name, label]) => {
      const button = html("button", { type: "button", "data-mode": name, "aria-pressed": String(name === mode) }, label);
      button.addEventListener("click", () => {
        mode = name;
        for (const other of modes) other.setAttribute("aria-pressed", String(other.dataset.mode === mode));
        draw();
      });
      return button;
    });
    const toggle = html("button", { type: "button", "aria-expanded": "false", "aria-controls": numbers.id, "aria-label": "table of " + spec.title }, "Table");
    toggle.addEventListener("click", () => {
      numbers.hidden = !numbers.hidden;
      toggle.setAttribute("aria-expanded", String(!numbers.hidden));
      listNumbers();
    });
    const figure = html("figure", { class: "card chart" + (spec.wide ? " wide" : ""), id: spec.id },
      html("figcaption", null, html("h3", null, spec.title),
        html("div", { class: "tools" }, modes.length > 0 && html("span", { class: "modes", role: "group", "aria-label": "clock" }, modes), toggle),
        html("p", { class: "hint" }, spec.hint)),
      legend, plot, numbers);
    parent.append(figure);
    charts.push(self);
    draw();

    function draw() {
      try { model = spec.model(mode); drawModel(); } catch (err) {
        failed(err);
        plot.replaceChildren(nodata("this chart could not be drawn: " + err.message));
      }
    }
    function drawModel() {
      selected = -1;
      const shown = model ? model.series.filter((s) => !hidden.has(s.key) && s.kind !== "tip") : [];
      const any = model && (model.paint && model.always || model.series.some((s) => s.values.some((v) => !none(v) && v !== 0)));
      toggle.hidden = !any;
      if (!any) {
        model = place = null;
        legend.replaceChildren();
        plot.replaceChildren(nodata(spec.empty));
        return;
      }
      drawLegend();
      const width = Math.max(plot.clientWidth || 720, 240), height = spec.height || 250;
      self.drawn = width;
      const y = valueAxis(shown, height);
      const labels = y.ticks.map((v) => short(model.y.format(v)));
      const named = model.stages && stages.length > 1;
      const box = { left: Math.max(...labels.map((t) => t.length)) * 6.6 + 12, top: named ? 42 : 24, right: width - 14, bottom: height - (model.x.name ? 40 : 24) };
      const X = scale(model.x, box.left, box.right), Y = scale(y, box.bottom, box.top);
      place = { X, Y, box, width, shown };
      const g = svg("g");
      const label = (x, y, text, anchor, cls) => svg("text", { x: round(x), y: round(y), "text-anchor": anchor, class: cls }, text);
      g.append(label(0, 11, model.y.name, "start", "axis-name"));
      y.ticks.forEach((v, i) => g.append(
        svg("path", { class: v === y.min ? "base" : "grid-line", d: `M${box.left} ${Y(v)}H${box.right}` }),
        label(box.left - 8, Y(v) + 4, labels[i], "end")));
      let free = 0; // right end of the last label, so that labels never overlap
      for (const [v, text] of model.x.ticks(box.right - box.left)) {
        const half = text.length * 3.3, x = Math.min(X(v), width - half);
        if (x - half < free) continue;
        g.append(label(x, box.bottom + 17, text, "middle"));
        free = x + half + 8;
      }
      if (model.x.name) g.append(label((box.left + box.right) / 2, box.bottom + 34, model.x.name, "middle", "axis-name"));
      if (model.paint) model.paint(g, X, Y, box, label);
      if (model.stages) paintTime(g, X, box, label, named);
      paintSeries(g, shown, X, Y, box);
      g.append(svg("g", { class: "cursor" }));
      const picture = svg("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", tabindex: 0, "aria-label": `${spec.title}. ${spec.hint} Arrow keys read single values.` }, g);
      listen(picture);
      plot.replaceChildren(picture, html("div", { class: "tip", role: "status", hidden: true }));
      listNumbers();
    }
    function valueAxis(shown, height) {
      if (model.y.axis) return model.y.axis;
      const count = Math.max(Math.floor(height / 48), 2);
      const bars = shown.filter((s) => s.kind === "bars");
      const stacked = bars.length ? model.at.map((_, i) => sum(bars.map((s) => s.values[i]))) : [];
      const values = (model.y.span || shown.filter((s) => s.kind !== "bars").flatMap((s) => s.values)).concat(stacked).filter((v) => !none(v));
      if (!model.y.log) return linearAxis(values.reduce((a, b) => Math.max(a, b), 0), count);
      const positive = values.filter((v) => v > 0);
      return logAxis(positive.reduce((a, b) => Math.min(a, b), positive.length ? Infinity : 1e6), positive.reduce((a, b) => Math.max(a, b), 1), count + 1);
    }
    function drawLegend() {
      const entries = model.series.filter((s) => s.kind !== "tip").map((s) => {
        const button = html("button", { type: "button", "aria-pressed": String(!hidden.has(s.key)), title: s.about }, key(s.color, s.dash, s.kind), s.label);
        button.addEventListener("click", () => {
          if (!hidden.delete(s.key)) hidden.add(s.key);
          draw();
          legend.querySelectorAll("button")[entries.indexOf(button)].focus();
        });
        return button;
      });
      const late = model.stages && intervals.some((iv) => iv.late);
      legend.replaceChildren(...entries, ...(model.legend ? [model.legend] : []), ...(late ? [html("span", null, key("late", false, "late"), "generator late: not judged")] : []));
    }
    function listNumbers() {
      if (!model || numbers.hidden) return numbers.replaceChildren();
      numbers.replaceChildren(table([[model.x.name || each, "text"], ...model.series.map((s) => [s.label])],
        (model.rows || model.at.map((_, i) => i)).map((i) => [model.heading(i), ...model.series.map((s) => (s.format || model.y.format)(s.values[i]))])));
    }

    function listen(picture) {
      const nearest = (event) => {
        const bounds = picture.getBoundingClientRect();
        const x = (event.clientX - bounds.left) * (place.width / bounds.width);
        let best = 0;
        model.at.forEach((v, i) => { if (Math.abs(place.X(v) - x) < Math.abs(place.X(model.at[best]) - x)) best = i; });
        return best;
      };
      const pick = (i) => {
        for (const other of charts) if (other === self || (model.stages && other.spec.timed)) other.select(i, other === self);
      };
      picture.addEventListener("pointermove", (event) => pick(nearest(event)));
      picture.addEventListener("pointerleave", () => pick(-1));
      picture.addEventListener("blur", () => pick(-1));
      picture.addEventListener("keydown", (event) => {
        const last = model.at.length - 1;
        const to = { ArrowRight: Math.min(selected + 1, last), ArrowLeft: Math.max(selected - 1, 0), Home: 0, End: last, Escape: -1 }[event.key];
        if (to === undefined) return;
        event.preventDefault();
        pick(to);
      });
    }
    function select(i, speak) {
      selected = i;
      if (!place) return;
      const cursor = plot.querySelector(".cursor"), tip = plot.querySelector(".tip");
      cursor.replaceChildren();
      tip.hidden = true;
      if (i < 0 || i >= model.at.length) return;
      const x = place.X(model.at[i]);
      cursor.append(svg("path", { class: "cross", d: `M${x} ${place.box.top}V${place.box.bottom}` }));
      for (const s of place.shown) {
        if (s.kind !== "bars" && !none(s.values[i])) cursor.append(svg("circle", { class: "dot", r: 3.5, cx: x, cy: place.Y(s.values[i]), style: `--c: var(--${s.color})` }));
      }
      if (!speak) return;
      const lines = model.series.filter((s) => !hidden.has(s.key)).map((s) => html("div", null,
        html("span", null, s.color && html("span", { class: "key", style: `--c: var(--${s.color})` }), s.label), html("span", null, (s.format || model.y.format)(s.values[i]))));
      tip.replaceChildren(html("strong", null, model.heading(i)), ...lines, ...(model.remark && model.remark(i) ? [html("em", null, model.remark(i))] : []));
      tip.hidden = false;
      const ratio = plot.clientWidth / place.width, left = x * ratio > plot.clientWidth / 2 ? x * ratio - tip.offsetWidth - 14 : x * ratio + 14;
      tip.style.left = Math.max(Math.min(left, plot.clientWidth - tip.offsetWidth), 0) + "px";
    }

    function paintSeries(g, shown, X, Y, box) {
      const base = model.at.map(() => 0);
      for (const s of shown) {
        const style = `--c: var(--${s.color})`;
        const add = (cls, d) => g.append(svg("path", { class: cls, d, style, "data-series": s.key }));
        if (s.kind === "bars") {
          const gap = X(model.to[0]) - X(model.from[0]) > 5 ? 1 : 0;
          add("bars", s.values.map((v, i) => {
            if (!(v > 0)) return "";
            const low = Y(base[i]), high = Y(base[i] += v);
            return `M${X(model.from[i])} ${low}V${high}H${round(Math.max(X(model.to[i]) - gap, X(model.from[i]) + 0.8))}V${low}Z`;
          }).join(""));
          continue;
        }
        const steps = s.kind === "step" || s.kind === "area" || model.at.length === 1 && model.from;
        const runs = []; // of samples without a gap
        const absent = (v) => none(v) || s.fromZero && v === 0;
        s.values.forEach((v, i) => {
          if (absent(v)) return;
          if (i === 0 || absent(s.values[i - 1])) runs.push([]);
          const points = steps ? [[X(model.from[i]), Y(v)], [X(model.to[i]), Y(v)]] : [[X(model.at[i]), Y(v)]];
          runs.at(-1).push(...points);
        });
        const path = (run) => "M" + run.map((p) => p.join(" ")).join("L") + (run.length === 1 ? "h0" : "");
        if (s.kind === "area") add("area", runs.map((run) => `${path(run)}V${box.bottom}H${run[0][0]}Z`).join(""));
        add("line" + (s.dash ? " dash" : "") + (s.thin ? " thin" : ""), runs.map(path).join(""));
        if (s.kind === "dots") runs.flat().forEach(([cx, cy]) => g.append(svg("circle", { class: "dot", r: model.at.length > 30 ? 2.5 : 3.5, cx, cy, style })));
      }
    }
  }

  // ---- What every chart over time shares ---------------------------------------------------------------------

  const result = JSON.parse(document.getElementById("result").textContent);
  const intervals = list(result.intervals), stages = list(result.stages);
  const total = map(result.total);
  const lateSeconds = amount(result.late_seconds);
  // The numbers at the top are those of the breakpoint after a search, whose trials together mean little; else those
  // of the judged seconds.
  const knee = list(map(result.breakpoint).trials).findLast((t) => t.rate === result.breakpoint.rate && t.verdict === "pass");
  const judgedOnly = !knee && lateSeconds > 0 && map(result.judged).seconds > 0;
  const main = knee || (map(result.judged).seconds > 0 ? result.judged : total);
  const scope = knee ? "the trial at the breakpoint" : judgedOnly ? "the seconds that are judged" : "the whole run";
  const each = intervals.every((iv) => iv.seconds === 1) ? "second" : "interval";
  const end = Math.max(1e-9, intervals.reduce((a, iv) => Math.max(a, amount(iv.from) + amount(iv.seconds)), 0));

  function overTime(series, y, more) {
    if (intervals.length === 0) return null;
    const stageAt = (t) => stages.findLast((s) => s.from <= t + 1e-9);
    return {
      stages: true, at: intervals.map((iv) => iv.from + iv.seconds / 2), from: intervals.map((iv) => iv.from), to: intervals.map((iv) => iv.from + iv.seconds),
      x: { min: 0, max: end, ticks: timeTicks }, y, series,
      heading: (i) => {
        const stage = stages.length > 1 && stageAt(intervals[i].from);
        return `${clock(intervals[i].from)} – ${clock(intervals[i].from + intervals[i].seconds)}${stage ? ", " + stage.name : ""}`;
      },
      remark: (i) => intervals[i].late && `generator late, up to ${time(amount(intervals[i].late_max_ms) * 1e6)}`, ...more,
    };
  }
  function timeTicks(width) {
    const room = Math.max(Math.floor(width / 76), 1);
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600].find((s) => end / s <= room) || 43200;
    return Array.from({ length: Math.floor(end / step + 1e-9) + 1 }, (_, i) => [i * step, step < 60 && end < 120 ? clock(i * step) : mark(i * step)]);
  }
  function mark(seconds) { // 1:30, 2:00:00
    const two = (v) => String(Math.floor(v)).padStart(2, "0");
    const h = Math.floor(seconds / 3600);
    return (h ? h + ":" + two((seconds / 60) % 60) : String(Math.floor(seconds / 60))) + ":" + two(seconds % 60);
  }
  function paintTime(g, X, box, label, named) {
    for (const iv of intervals) {
      if (!iv.late) continue;
      const x = X(iv.from), width = Math.max(round(X(iv.from + iv.seconds) - x), 2);
      g.append(svg("rect", { class: "late", x, y: box.top, width, height: box.bottom - box.top }), svg("rect", { class: "late-foot", x, y: box.bottom, width, height: 4 }));
    }
    if (!named) return;
    const dense = (box.right - box.left) / stages.length < 30; // lines right across would bury the chart
    stages.forEach((stage, i) => {
      const from = X(stage.from), to = i + 1 < stages.length ? X(stages[i + 1].from) : box.right;
      if (stage.from > 0) g.append(svg("path", { class: "stage-line", d: `M${from} ${box.top - 16}V${dense ? box.top - 6 : box.bottom}` }));
      if (String(stage.name).length * 6.6 + 8 < to - from) g.append(label(from + 5, box.top - 8, stage.name, "start", "stage"));
    });
  }

  // ---- The report, from the top ------------------------------------------------------------------------------

  const loops = { open: "open loop", closed: "closed loop" };
  function headline(at) {
    const slo = list(result.slo), held = slo.filter((s) => s.verdict === "pass").length;
    const [sign, name] = verdictNames[verdictOf(result.verdict)];
    const started = new Date(result.started);
    const when = Number.isNaN(started.getTime()) || started.getUTCFullYear() < 1971 ? "" : started.toISOString().slice(0, 19).replace("T", " ") + " UTC";
    at.append(html("header", { class: "headline" },
      html("div", { class: "verdict " + verdictOf(result.verdict), id: "verdict" }, html("span", { "aria-hidden": "true" }, sign),
        html("span", null, name + (slo.length ? `: ${held} of ${slo.length} objective${slo.length === 1 ? "" : "s"} held` : ""))),
      html("h1", null, result.target || "no target"),
      html("ul", { class: "facts" }, [result.protocol, loops[result.loop] || result.loop, when, clock(result.seconds) + " of load",
        result.end === "finished" ? "ran to its end" : result.end].filter(Boolean).map((fact) => html("li", null, fact)))));
    const notes = list(result.notes);
    if (result.end === "interrupted") notes.unshift("The run was interrupted. What follows covers the part that ran.");
    for (const note of notes) at.append(html("p", { class: "callout", role: "note" }, note));
    document.title = `${name}: ${result.target || "load"}`;
  }

  function keyNumbers(at) {
    const done = amount(main.ok) + sum(Object.values(map(main.failed)));
    const client = map(result.client);
    const cell = (id, name, value, note) => {
      const [figure, ...rest] = value.split(/(?=\/s|\u00a0)/);
      return html("div", null, html("dt", null, name), html("dd", { class: "big", "data-key": id }, figure, rest.length > 0 && html("small", null, rest.join(""))), html("dd", { class: "note" }, note));
    };
    if (result.breakpoint) breakpoint(at);
    at.append(html("dl", { class: "card numbers" },
      cell("offered", "Offered", rate(perSecond(main.due, main)), `${whole(amount(main.due))} requests due`),
      cell("achieved", "Achieved", rate(perSecond(done, main)), amount(main.unfinished) ? `${whole(main.unfinished)} still unfinished at the end` : amount(main.due) ? "every request finished" : "no request was due"),
      cell("good", "Good answers", rate(perSecond(main.ok, main)), `${whole(amount(main.ok))}, every check held`),
      cell("errors", "Failed", percent(errorShare(main)), `${whole(failures(main))} of ${whole(failures(main) + amount(main.ok))} finished`),
      cell("connections", "Connections", whole(amount(client.connections)), `${whole(amount(total.connects))} set up${histogram(total.connect) ? `, p99 ${time(quantile(total.connect, 0.99))}` : ""}`)));
    const row = (id, cls, name, about, h) => html("tr", { class: cls }, html("th", { scope: "row", class: "text" }, name, html("span", null, about)),
      quantiles.map(([k, q, label]) => html("td", { "data-key": `${id}-${k}`, "data-name": label }, time(quantile(h, q)))));
    at.append(html("div", { class: "card latency" }, html("table", null,
      html("thead", null, html("tr", null, html("th", { class: "text" }, ""), quantiles.map(([, , label]) => html("th", { scope: "col" }, label)))),
      html("tbody", null,
        row("latency", "main", "Latency", "from when a request was due", main.latency),
        row("service", "other", "Service time", "uncorrected: from when it was sent", main.service),
        judgedOnly && row("total", "other", "Latency, all seconds", "those in which the generator was late included", total.latency))),
      html("p", null, difference(), judgedOnly ? ` These numbers cover ${clock(main.seconds)}; ${clock(lateSeconds)} in which the generator itself ran late are left out.` : knee ? ` These numbers are of ${scope}: ${clock(main.seconds)} at ${rate(knee.rate)}.` : "")));
  }
  // difference says what the two clocks tell about this run.
  function difference() {
    if (!histogram(main.latency) || !histogram(main.service)) return "No latency was measured.";
    if (result.loop === "closed") return "In a closed loop each user waits for its answer before it asks again, so a slow target slows the questions down: these numbers do not show what users who come anyway would have met.";
    const [, q, label] = quantiles.slice(1, 4).reduce((a, b) => (quantile(main.latency, b[1]) / quantile(main.service, b[1]) > quantile(main.latency, a[1]) / quantile(main.service, a[1]) * 1.0001 ? b : a));
    const due = quantile(main.latency, q), sent = quantile(main.service, q);
    if (due < sent * 1.1) return "The two clocks agree: no request had to wait for its turn. Had the target stalled, only latency, whose clock starts when a request is due, would show the whole wait.";
    return [html("strong", null, `Measured from when requests were sent, ${label} would read ${time(sent)} instead of ${time(due)}.`),
      " Requests that were due had to wait for a slow target before they could be sent, and a clock that starts at sending leaves that wait out (coordinated omission). Users feel it: judge by latency."];
  }
  function breakpoint(at) {
    const found = result.breakpoint;
    const limits = {
      slo: "The objectives ended the search.", ceiling: "The search ended at its ceiling: the target may hold more.",
      generator: "The generator reached its own limit first: the target may hold more.", time: "The time for the search ran out.",
    };
    at.append(html("div", { class: "card breakpoint", id: "breakpoint" }, html("div", null, html("div", { class: "soft" }, "Breakpoint"), html("div", { class: "big" }, found.rate > 0 ? rate(found.rate) : "none found")),
      html("p", null, (found.rate > 0 ? "The highest rate at which every objective held. " : "At no rate that was tried did every objective hold. ")
        + (found.above > 0 ? `At ${rate(found.above)} one did not${found.rate > 0 && Number.isFinite(found.precision) ? `, ${percent(found.precision)} above` : ""}. ` : "") + (limits[found.limit] || ""))));
  }

  function objectives(at) {
    const slo = list(result.slo);
    if (slo.length === 0) return;
    const show = (v, of) => (of === "ms" ? time(v * 1e6) : of === "share" ? percent(v) : of === "rps" ? rate(v) : number(v));
    const distance = (s) => {
      if (!(s.bound > 0) || !(s.value > 0)) return "";
      const ratio = s.value / s.bound;
      return ratio >= 2 ? `${number(ratio)}× the bound` : ratio > 1 ? `${percent(ratio - 1)} above` : ratio === 1 ? "on the bound" : `${percent(1 - ratio)} below`;
    };
    const reasons = slo.some((s) => s.reason);
    section(at, "Objectives", card(table([["Verdict", "text"], ["Objective", "text"], ["Measured"], ["Bound"], ["Distance"], ...(reasons ? [["Reason", "wrap"]] : [])],
      slo.map((s) => [word(s.verdict), html("code", null, s.slo), show(s.value, s.unit), show(s.bound, s.unit), distance(s), ...(reasons ? [s.reason || ""] : [])]))));
  }

  function loadCurve(at) {
    const trials = list(map(result.breakpoint).trials);
    const found = map(result.breakpoint).rate;
    const points = (trials.length ? trials.map((t) => ({ ...t, name: `${rate(t.rate)}, ${t.phase}`, good: t.goodput })) : stages.map((s) => ({ ...s, rate: s.rate || perSecond(s.due, s), good: perSecond(s.ok, s) })))
      .filter((p) => p.rate > 0).sort((a, b) => a.rate - b.rate);
    if (!result.breakpoint && points.length < 2) return;
    const most = points.reduce((a, p) => Math.max(a, p.rate), 1);
    const top = Math.min(most, points.reduce((a, p) => Math.max(a, amount(p.good)), 0)); // where the ideal leaves the chart
    const remarks = (i) => points[i].verdict && `${verdictNames[verdictOf(points[i].verdict)][1]}${points[i].reason ? ": " + points[i].reason : ""}`;
    const model = (y, series, paint) => () => points.length && {
      at: points.map((p) => p.rate), heading: (i) => points[i].name || rate(points[i].rate), remark: remarks, y, series,
      x: { min: 0, max: most * 1.04, name: "offered, requests/s", ticks: (width) => linearAxis(most, Math.max(Math.floor(width / 80), 2)).ticks.filter((v) => v <= most * 1.04).map((v) => [v, short(number(v))]) },
      paint(g, X, Y, box, label) {
        if (paint) paint(g, X, Y, box, label);
        if (!(found > 0)) return;
        const x = X(found), right = x > (box.left + box.right) / 2;
        g.append(svg("rect", { class: "beyond", x, y: box.top, width: round(Math.max(box.right - x, 0)), height: box.bottom - box.top }),
          svg("path", { class: "knee", d: `M${x} ${box.top}V${box.bottom}` }),
          label(right ? x - 6 : x + 6, box.top - 5, `breakpoint ${rate(found)}`, right ? "end" : "start", "knee-name"));
      },
    };
    const each = trials.length ? "trial" : "stage";
    const inside = section(at, "Under rising load", html("div", { class: "charts" })).lastChild;
    chart(inside, { id: "goodput", title: "Good answers against offered rate", hint: `A point a ${each}. On the dotted line every request is answered well.`,
      model: model({ format: number, name: "good answers/s" }, [{ key: "good", label: "good answers", color: "answered", kind: "dots", values: points.map((p) => p.good) }],
        (g, X, Y) => g.append(svg("path", { class: "ideal", d: `M${X(0)} ${Y(0)}L${X(top)} ${Y(top)}` }))) });
    chart(inside, { id: "load-latency", title: "Latency against offered rate", hint: `A point a ${each}, latency on a log scale. Where it turns up for good is the knee.`,
      model: model({ log: true, format: time, name: "latency" }, [quantiles[0], quantiles[2]].map(([k, q, label]) => ({ key: k, label, color: k, kind: "dots", values: points.map((p) => quantile(p.latency, q)) }))) });
  }

  function overTimeCharts(at) {
    const inside = section(at, "Over time", html("div", { class: "charts" })).lastChild;
    const timed = (spec) => chart(inside, { timed: true, ...spec });
    timed({ id: "rate", wide: true, title: "Requests", hint: `Answered counts what came back in that ${each}, whenever it was due. Due and failed count by when a request was due.`,
      model: () => overTime([
        { key: "answered", label: "answered", color: "answered", kind: "area", values: intervals.map((iv) => perSecond(iv.done, iv)) },
        { key: "due", label: "due", color: "due", kind: "step", dash: true, values: intervals.map((iv) => perSecond(iv.due, iv)) },
        { key: "failed", label: "failed", color: "failed", kind: "area", fromZero: true, values: intervals.map((iv) => perSecond(failures(iv), iv)) },
      ], { format: number, name: "requests/s" }) });
    timed({ id: "latency", wide: true, height: 300, title: "Latency percentiles", hint: `Of the requests that were due in that ${each}, on a log scale. A request that was due during a stall counts with its whole wait.`,
      modes: [["latency", "from due"], ["service", "from sent"]], empty: "no latencies were measured",
      model: (mode) => overTime([...quantiles].reverse().map(([k, q, label]) => ({ key: k, label, color: k, kind: "line", dash: k === "max", thin: k === "max", values: intervals.map((iv) => quantile(iv[mode], q)) })),
        // One scale for both clocks, so that turning from one to the other shows the difference.
        { log: true, format: time, name: mode === "latency" ? "latency, from due" : "service time, from sent", span: intervals.flatMap((iv) => [0.5, 1].flatMap((q) => [quantile(iv.latency, q), quantile(iv.service, q)])) }) });
    timed({ id: "heat", wide: true, height: 280, title: "Where the answers lie", hint: "A column is a stretch of time, a cell the answers with that latency: the stronger its colour, the more. Two bands mean two kinds of answers.", empty: "no latencies were measured", model: heat });
    timed({ id: "failures", title: "Failures", hint: "By class, and by when the request was due.", empty: "no request failed", model: () => {
      const named = [...new Set([...Object.keys(classes), ...intervals.flatMap((iv) => Object.keys(map(iv.failed)))])].filter((c) => intervals.some((iv) => map(iv.failed)[c] > 0));
      return named.length ? overTime(named.map((c) => ({ key: c, label: c, about: Object.hasOwn(classes, c) ? classes[c] : "", color: Object.hasOwn(classes, c) ? c : "soft", kind: "bars", values: intervals.map((iv) => perSecond(map(iv.failed)[c], iv)) })),
        { format: number, name: "failures/s" }) : null;
    } });
    chart(inside, { id: "distribution", title: "Latency distribution", hint: `How long the slowest share took, over ${scope}. Each step to the right is ten times rarer.`, empty: "no latencies were measured", model: distribution });
    timed({ id: "bytes", title: "Bytes", hint: "Sent and received, above TLS.", empty: "no bytes were counted", model: () => overTime([
      { key: "in", label: "received", color: "in", kind: "line", values: intervals.map((iv) => perSecond(iv.bytes_in, iv)) },
      { key: "out", label: "sent", color: "out", kind: "line", values: intervals.map((iv) => perSecond(iv.bytes_out, iv)) },
    ], { format: (v) => (none(v) ? "–" : bytes(v) + "/s"), name: "bytes/s", axis: null }) });
    timed({ id: "connections", title: "Connections and requests in flight", hint: `Connections set up in that ${each}; requests in flight at its end.`, model: () => overTime([
      { key: "flight", label: "in flight", color: "answered", kind: "line", values: intervals.map((iv) => amount(iv.in_flight)) },
      { key: "connects", label: "connections set up", color: "p99", kind: "step", values: intervals.map((iv) => amount(iv.connects)) },
    ], { format: number, name: "count" }) });
  }

  // heat counts the answers of each interval in rows of equal height on the log scale.
  function heat() {
    const seen = intervals.map((iv) => histogram(iv.latency));
    const any = seen.filter(Boolean);
    if (any.length === 0) return null;
    const axis = logAxis(any.reduce((a, h) => Math.min(a, h.min), Infinity), any.reduce((a, h) => Math.max(a, h.max), 1), 7);
    const rows = 34, span = Math.log(axis.max / axis.min);
    const width = Math.ceil(intervals.length / 300); // intervals a column, so that a long run stays light to draw
    const columns = [];
    seen.forEach((h, i) => {
      const counts = (columns[Math.floor(i / width)] ||= new Array(rows).fill(0));
      for (const cell of h ? h.cells : []) {
        const row = Math.floor((Math.log(Math.max(cell.low + cell.width / 2, axis.min) / axis.min) / span) * rows);
        counts[Math.min(row, rows - 1)] += cell.count;
      }
    });
    const most = columns.flat().reduce((a, b) => Math.max(a, b), 1);
    const level = (n) => Math.min(Math.floor((Math.log(n) / Math.log(Math.max(most, 2))) * 7), 6);
    const shades = [0, 1, 2, 3, 4, 5, 6];
    const legend = html("span", null, "1", svg("svg", { width: 98, height: 10, "aria-hidden": "true" }, shades.map((s) => svg("rect", { x: s * 14, width: 14, height: 10, style: `fill: var(--h${s})` }))), `${whole(most)} answers`);
    return overTime([["answers", "answers", (h) => (h ? h.count : 0), whole], ["min", "min", (h) => h && h.min], ...quantiles.map(([k, q, label]) => [k, label, (_, i) => quantile(intervals[i].latency, q)])]
      .map(([k, label, value, format]) => ({ key: k, label, kind: "tip", format: format || time, values: seen.map(value) })),
    { log: true, axis, format: time, name: "latency, from due" }, { always: true, legend, paint(g, X, Y, box) {
      const paths = shades.map(() => "");
      const height = (box.bottom - box.top) / rows;
      columns.forEach((counts, c) => {
        const last = intervals[Math.min((c + 1) * width, intervals.length) - 1];
        const left = X(intervals[c * width].from), right = X(last.from + last.seconds);
        counts.forEach((n, row) => { if (n > 0) paths[level(n)] += `M${left} ${round(box.bottom - row * height)}V${round(box.bottom - (row + 1) * height)}H${right}V${round(box.bottom - row * height)}Z`; });
      });
      paths.forEach((d, s) => d && g.append(svg("path", { d, style: `fill: var(--h${s})`, "shape-rendering": "crispEdges" })));
    } });
  }

  function distribution() {
    const h = histogram(main.latency);
    if (!h) return null;
    const most = Math.max(h.count, 10), usual = [0, 0.25, 0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 0.99999, 0.999999].filter((q) => 1 / (1 - q) <= most);
    const fine = Array.from({ length: 140 }, (_, i) => 1 - most ** (-i / 140));
    const shares = [...new Set([...fine, ...usual])].sort((a, b) => a - b).concat(1);
    return {
      at: shares.map((q) => (q >= 1 ? most : 1 / (1 - q))), heading: (i) => (shares[i] >= 1 ? "maximum" : `${percentile(shares[i])} took at most`), rows: [...usual, 1].map((q) => shares.indexOf(q)),
      x: { log: true, min: 1, max: most, name: "percentile", ticks: () => [0, ...usual.filter((q) => [0.5, 0.9, 0.99, 0.999, 0.9999, 0.99999, 0.999999].includes(q))]
        .map((q) => [1 / (1 - q), percentile(q)]) },
      y: { log: true, format: time, name: "time" },
      series: [{ key: "latency", label: "latency, from due", color: "p999", kind: "line", values: shares.map((q) => quantile(main.latency, q)) },
        { key: "service", label: "service time, from sent", color: "p90", kind: "line", dash: true, values: shares.map((q) => quantile(main.service, q)) }],
    };
  }

  function windows(at, title, rows, first, cells) {
    if (rows.length === 0) return;
    section(at, title, card(table([...first, ["due"], ["good"], ["good/s"], ["failed"], ...quantiles.map(([, , label]) => [label])],
      rows.map((w) => [...cells(w), whole(w.due), whole(w.ok), number(w.goodput ?? perSecond(w.ok, w)), percent(errorShare(w)), ...quantiles.map(([, q]) => time(quantile(w.latency, q)))]))));
  }

  function tables(at) {
    const trials = list(map(result.breakpoint).trials), requests = list(result.requests);
    windows(at, "Trials", trials, [["rate"], ["phase", "text"], ["verdict", "text"], ["reason", "wrap"]], (t) => [rate(t.rate), t.phase, word(t.verdict), t.reason || ""]);
    windows(at, "Stages", stages, [["stage", "text"], ["from"], ["asked"]], (s) => [s.name, clock(s.from), s.rate > 0 ? rate(s.rate) : "–"]);
    windows(at, "Requests", requests, [["request", "text"]], (r) => [r.name]);
    const beside = html("div", { class: "beside" });
    at.append(beside);
    const counted = (title, counts, name, about) => {
      const rows = Object.entries(map(counts)).filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1]), all = sum(rows.map((r) => r[1]));
      const most = rows.length ? rows[0][1] : 1;
      if (rows.length) section(beside, title, card(table([[name, "text"], ["count"], ["share"], ["", "text"], ...(about ? [["", "wrap"]] : [])], rows.map(([k, n]) =>
        [html("code", null, k), whole(n), percent(share(n, all)), html("span", { class: "meter" }, html("i", { style: `width: ${Math.max((n / most) * 100, 1)}%` })), ...(about ? [about(k)] : [])]))));
    };
    counted("Answers by status", total.status, "status");
    counted("Failures by class", total.failed, "class", (c) => html("span", { class: "soft" }, Object.hasOwn(classes, c) ? classes[c] : ""));
    if (list(result.errors).length) {
      section(at, "First messages of each class", card(table([["class", "text"], ["at"], ["request", "text"], ["message", "wrap"]],
        list(result.errors).map((e) => [html("code", null, e.class), clock(e.at), e.request, html("code", null, e.message)]))));
    }
    generator(at);
  }

  function generator(at) {
    const client = map(result.client), machine = map(result.machine);
    const pair = (name, value) => html("div", null, html("dt", null, name), html("dd", null, value));
    const late = (q) => time(quantile(client.late, q));
    section(at, "The generator itself", card(html("dl", { class: "pairs" },
      pair("CPU a request", time(amount(client.cpu_per_request_us) * 1000)), pair("CPU in all", clock(client.cpu_seconds)),
      pair("Late, p50", late(0.5)), pair("Late, p99", late(0.99)), pair("Late, max", late(1)), pair("Late seconds", clock(lateSeconds)),
      pair("Peak memory", client.peak_memory_bytes > 0 ? bytes(client.peak_memory_bytes) : "not told by this system"),
      pair("Machine", `${machine.os || "?"}/${machine.arch || "?"}, ${whole(machine.cpus)} CPUs, ${whole(machine.procs)} used`),
      pair("Built with", machine.go || "–"), pair("Version", result.version || "–")),
      html("p", { class: "under" }, "Late is how much later than possible a request was sent by the generator's own fault. A second in which it was too late is hatched above and not held against the target.")));
    at.append(html("details", { class: "card" }, html("summary", null, "The plan as it ran"), html("pre", null, JSON.stringify(result.plan ?? null, null, 2))));
    at.append(html("p", { class: "foot" }, `${result.schema || ""} · this page holds its data and loads nothing.`));
  }

  // ---- Drawing -----------------------------------------------------------------------------------------------

  const theme = document.getElementById("theme");
  const dark = () => (root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches);
  const named = () => { theme.textContent = dark() ? "Light" : "Dark"; };
  function fromHash() { if (["#dark", "#light"].includes(location.hash)) root.dataset.theme = location.hash.slice(1); named(); }
  theme.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; named(); });
  window.addEventListener("hashchange", fromHash);
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", named);
  fromHash();

  const at = document.getElementById("report");
  for (const part of [headline, keyNumbers, objectives, loadCurve, overTimeCharts, tables]) {
    try { part(at); } catch (err) {
      failed(err);
      at.append(nodata("this part could not be drawn: " + err.message));
    }
  }
  new ResizeObserver(() => {
    for (const c of charts) if (c.drawn && Math.abs(document.querySelector(`#${c.spec.id} .plot`).clientWidth - c.drawn) > 1) c.draw();
  }).observe(at);
  root.dataset.drawn = String(charts.length);
})();
