"use strict";
(() => {
  /** An element with attributes (functions become listeners) and children; text is always text, never HTML. */
  const make = (tag, attributes = {}, ...children) => {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (typeof value === "function") node.addEventListener(name, value);
      else if (value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
    }
    node.append(...children.filter((child) => child !== undefined));
    return node;
  };
  const name = (text) => make("bdi", { title: text }, text);

  // Tables: a button in each heading sorts the rows of each group; cells without a value stay at the end.
  const sortBy = (table, heading, column) => {
    const first = heading.dataset.better === "lower" || !heading.classList.contains("num") ? "ascending" : "descending";
    const second = first === "ascending" ? "descending" : "ascending";
    const order = heading.getAttribute("aria-sort") === first ? second : first;
    for (const other of table.tHead.querySelectorAll("[aria-sort]")) other.removeAttribute("aria-sort");
    heading.setAttribute("aria-sort", order);
    const sign = order === "ascending" ? 1 : -1;
    const numeric = heading.classList.contains("num");
    for (const body of table.tBodies) sortRows(body, column, numeric, sign);
  };
  const sortRows = (body, column, numeric, sign) => {
    const keyed = [...body.rows].filter((row) => !row.classList.contains("heading")).map((row) => {
      const cell = row.cells[column];
      return { row, key: numeric ? parseFloat(cell.dataset.value) : cell.textContent.trim() };
    });
    keyed.sort((a, b) => {
      if (!numeric) return sign * a.key.localeCompare(b.key, undefined, { numeric: true });
      if (isNaN(a.key) || isNaN(b.key)) return isNaN(a.key) - isNaN(b.key);
      return sign * (a.key - b.key);
    });
    body.append(...keyed.map((one) => one.row));
  };
  for (const table of document.querySelectorAll("table.sortable")) {
    [...table.tHead.rows[table.tHead.rows.length - 1].cells].forEach((heading, column) => {
      const title = heading.querySelector(".title");
      const button = make("button", { type: "button", click: () => sortBy(table, heading, column) });
      title.replaceWith(button);
      button.append(title);
    });
  }
  window.addEventListener("beforeprint", () => {
    for (const part of document.querySelectorAll("details")) part.open = true;
  });

  // Samples.
  const source = document.getElementById("samples");
  if (!source) return;
  const data = JSON.parse(source.textContent);
  const { samples, items } = data;
  const PAGE = 48;
  const scored = data.columns.map((column, at) => ({ ...column, at })).filter((c) => c.similarity);
  const count = samples.item.length;
  const haystack = items.map((item) => `${item.name}\n${item.subject}`.toLowerCase());
  const statusOf = (at) => data.statuses[samples.status[at]];
  const figure = (value) => (value === null ? "n/a" : value.toFixed(3));

  // Controls.
  const form = document.querySelector("form.filters");
  const field = (id, text, control, wide) => {
    control.id = id;
    form.append(make("div", wide ? { class: "wide" } : {}, make("label", { for: id }, text), control));
    return control;
  };
  const select = (options) => make("select", {}, ...options.map(([value, text]) => make("option", { value }, text)));
  const method = data.runs.length > 1 ? field("method", "Method", select([["", "all"], ...data.runs.map((run, at) => [at, run])]), true) : undefined;
  const identity = field("identity", "Identity contains", make("input", { type: "search", autocomplete: "off", spellcheck: "false" }), true);
  const tally = (counts) => samples.status.reduce((sum, place) => sum + counts(data.statuses[place]), 0);
  const status = field("status", "Status", select([
    ["", `all (${count})`],
    ["failed", `all failures (${tally((one) => one.failure)})`],
    ...data.statuses.map(({ name, words }) => [name, `${words} (${tally((one) => one.name === name)})`]),
  ]));
  const by = field("by", "Similarity by", select(scored.length ? scored.map((c) => [c.at, c.variant]) : [["", "none"]]));
  const order = field("order", "Order", select([["worst", "worst first"], ["best", "best first"], ["list", "as listed"]]));
  const bound = (id, text) => make("input", { id, type: "number", step: "0.01", min: "-1", max: "1", "aria-label": text, placeholder: text });
  const low = bound("low", "from");
  const high = bound("high", "to");
  form.append(make("fieldset", {}, make("legend", {}, "Similarity range"), make("div", { class: "range" }, low, "–", high)));
  const references = make("input", { type: "checkbox", id: "references", checked: data.images });
  if (data.images) form.append(make("label", { class: "check", for: "references" }, references, "show references"));
  form.append(make("button", { type: "reset", class: "button" }, "Clear filters"));
  form.hidden = false;

  /** What a sample is sorted by under the chosen score: failures are worst, what is not a trial is last in either order. */
  const sortKey = (at, values) => (statusOf(at).trial ? values?.[at] ?? -Infinity : NaN);
  const chosen = () => {
    const values = by.value === "" ? undefined : data.columns[by.value].values;
    const sought = identity.value.trim().toLowerCase();
    const hits = sought ? haystack.map((text) => text.includes(sought)) : undefined;
    const [from, to] = [parseFloat(low.value), parseFloat(high.value)];
    const found = [];
    for (let at = 0; at < count; at++) {
      const state = statusOf(at);
      const value = values?.[at] ?? null;
      if (method?.value && samples.run[at] !== Number(method.value)) continue;
      if (hits && !hits[samples.item[at]]) continue;
      if (status.value === "failed" ? !state.failure : status.value && state.name !== status.value) continue;
      if (!isNaN(from) && !(value !== null && value >= from)) continue;
      if (!isNaN(to) && !(value !== null && value <= to)) continue;
      found.push(at);
    }
    if (order.value === "list") return found;
    const sign = order.value === "worst" ? 1 : -1;
    const keyed = found.map((at) => ({ at, key: sortKey(at, values) }));
    keyed.sort((a, b) => {
      if (isNaN(a.key) || isNaN(b.key)) return isNaN(a.key) - isNaN(b.key) || a.at - b.at;
      return (a.key === b.key ? 0 : sign * (a.key < b.key ? -1 : 1)) || a.at - b.at;
    });
    return keyed.map((one) => one.at);
  };

  // Cards.
  const title = (at) => items[samples.item[at]].name;
  const label = (at) => `${data.runs[samples.run[at]]}, ${title(at)}, sample ${samples.index[at]}`;
  const shot = (file, text, otherwise, failed) =>
    file
      ? make("img", { class: "shot", src: `thumbnails/${file}`, alt: text, loading: "lazy", decoding: "async", width: 192, height: 192 })
      : make("span", { class: failed ? "shot blank failed" : "shot blank" }, otherwise);
  const shots = (at) => {
    const item = items[samples.item[at]];
    const state = statusOf(at);
    return {
      reference: shot(item.reference, `reference of ${item.name}`, data.images ? "no reference image" : "reference not included"),
      sample: shot(samples.image[at], label(at), state.good ? "image not included" : state.words, state.failure),
    };
  };
  const reason = (at) => {
    const state = statusOf(at);
    if (state.good) return undefined;
    const text = data.reasons[samples.reason[at]];
    return make("p", { class: state.failure ? "why" : "why calm", dir: "auto" }, text ? `${state.words}: ${text}` : state.words);
  };
  const card = (at) => {
    const { reference, sample } = shots(at);
    const values = scored.flatMap((c) => [make("dt", { title: c.variant }, c.variant), make("dd", {}, figure(c.values[at]))]);
    return make("li", { class: "card" },
      make("button", { type: "button", "aria-label": `details of ${label(at)}`, click: () => open(at) }, ...(references.checked ? [reference] : []), sample),
      make("p", { class: "name" }, name(title(at)), make("span", {}, data.runs.length > 1 ? `${data.runs[samples.run[at]]} · ${samples.index[at]}` : `sample ${samples.index[at]}`)),
      reason(at),
      make("dl", {}, ...values));
  };
  let found = [];
  let page = 0;
  const cards = document.querySelector("ul.cards");
  const pagers = [...document.querySelectorAll(".pager")];
  const turn = (to) => {
    page = to;
    draw();
    document.getElementById("images").scrollIntoView();
  };
  const draw = () => {
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    const start = page * PAGE;
    cards.classList.toggle("alone", !references.checked);
    cards.replaceChildren(...found.slice(start, start + PAGE).map(card));
    const range = found.length ? `${start + 1}–${Math.min(start + PAGE, found.length)} of ` : "";
    document.getElementById("found").textContent = `${range}${found.length} sample${found.length === 1 ? "" : "s"}`;
    for (const pager of pagers) {
      pager.hidden = pager.parentNode.hidden = false;
      if (pager !== pagers[0]) pager.parentNode.hidden = pages === 1;
      pager.replaceChildren(
        make("button", { type: "button", class: "button", disabled: page === 0, click: () => turn(page - 1) }, "Previous"),
        make("span", {}, `page ${page + 1} of ${pages}`),
        make("button", { type: "button", class: "button", disabled: page === pages - 1, click: () => turn(page + 1) }, "Next"));
    }
  };
  const filter = () => {
    found = chosen();
    page = 0;
    draw();
  };

  // One item by all methods: its reference, and a row of samples per method.
  const byItem = document.getElementById("item");
  const drawItem = (which) => {
    const picked = document.getElementById("which");
    picked.value = String(which);
    const step = (by, text) => make("button", { type: "button", class: "button", disabled: !(which + by in items), click: () => drawItem(which + by) }, text);
    byItem.querySelector(".pager").replaceChildren(step(-1, "Previous"), step(1, "Next"));
    const own = samples.item.flatMap((item, at) => (item === which ? [at] : []));
    const value = (at) => (scored.length ? figure(data.columns[by.value].values[at]) : "");
    const one = (at) => make("li", {},
      make("button", { type: "button", "aria-label": `details of ${label(at)}`, click: () => open(at) }, shots(at).sample),
      make("span", {}, value(at)));
    const row = (run, at) => make("li", {}, make("h3", {}, name(run)),
      make("ul", {}, ...own.filter((sample) => samples.run[sample] === at).map(one)));
    const reference = shot(items[which].reference, `reference of ${items[which].name}`, "no reference image");
    byItem.querySelector(".methods").replaceChildren(
      make("figure", {}, reference, make("figcaption", {}, "reference")), make("ul", {}, ...data.runs.map(row)));
  };
  const startItem = () => {
    const picked = document.getElementById("which");
    picked.append(...items.map((item, at) => make("option", { value: at }, item.name)));
    picked.addEventListener("input", () => drawItem(Number(picked.value)));
    by.addEventListener("input", () => drawItem(Number(picked.value)));
    byItem.hidden = false;
    drawItem(0);
  };

  // One sample in full; the arrow keys go through what the filters found.
  const dialog = document.querySelector("dialog");
  let shown = 0;
  const rows = (at) => {
    const item = items[samples.item[at]];
    const listed = [["Method", data.runs[samples.run[at]]], ["Item", item.name], ["Subject", item.subject], ["Sample", samples.index[at]],
      ["Status", statusOf(at).words], ["Reason", data.reasons[samples.reason[at]]], ["Seed", samples.seed?.[at]]];
    for (const c of data.columns) listed.push([`${c.title}, ${c.variant}`, figure(c.values[at])]);
    return listed.filter(([, text]) => text !== "" && text !== undefined).flatMap(([term, text]) => [make("dt", {}, term), make("dd", {}, make("bdi", {}, String(text)))]);
  };
  const fill = (at) => {
    shown = found.indexOf(at);
    const { reference, sample } = shots(at);
    const caption = (text) => make("figcaption", {}, text);
    const step = (by, text) => make("button", { type: "button", class: "button", disabled: !(shown + by in found), click: () => move(by) }, text);
    dialog.replaceChildren(
      make("h3", { id: "dialog-title" }, name(title(at)), `, sample ${samples.index[at]}`),
      make("div", { class: "pair" }, make("figure", {}, reference, caption("reference")), make("figure", {}, sample, caption("sample"))),
      make("dl", {}, ...rows(at)),
      make("div", { class: "bar" }, make("div", { class: "pager" }, step(-1, "Previous"), step(1, "Next")),
        make("button", { type: "button", class: "button", click: () => dialog.close() }, "Close")));
  };
  const move = (by) => {
    if (!(shown + by in found)) return;
    fill(found[shown + by]);
    dialog.querySelector("button:not(:disabled)").focus();
  };
  const open = (at) => {
    fill(at);
    dialog.showModal();
  };
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowRight") move(1);
    if (event.key === "ArrowLeft") move(-1);
  });

  form.addEventListener("input", filter);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(filter));
  filter();
  if (byItem) startItem();
})();
