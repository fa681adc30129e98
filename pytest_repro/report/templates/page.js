"use strict";
// Everything that comes from tests enters the page as text (textContent), never as markup.
const DATA = JSON.parse(document.getElementById("data").textContent);
const CHUNK = 200;
const at = (id) => document.getElementById(id);
const el = (tag, attributes = {}, ...children) => {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children.filter((one) => one !== null && one !== undefined));
  return made;
};
const drawn = (tag, attributes, text) => {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
};
const numberOf = (value) => (typeof value === "string" ? Number(value.replace("inf", "Infinity")) : value);
const figure = (value) => {
  const number = numberOf(value);
  if (number === null || number === undefined) return "-";
  if (!Number.isFinite(number)) return String(value);
  if (Number.isSafeInteger(number)) return String(number);
  return Math.abs(number) < 1e-3 ? number.toExponential(3) : String(Number(number.toPrecision(4)));
};
const shareOf = (check) => numberOf(check.share ?? 0);
// The value gate comes before any distance: another dtype or shape, NaN in other places.
const farOf = (check) => (check.gate === "value" ? Infinity : numberOf(check.rel_l2 ?? 0));
// Infinity - Infinity is NaN, and NaN || next is the next: equal shares are told apart by distance.
const larger = (of, one, two) => of(two.check) - of(one.check) || 0;
const quoted = (text) => "'" + text.replaceAll("'", "'\\''") + "'";

// Opened from a disk the page knows its folder, and the command can be copied unchanged.
const FOLDER = location.protocol === "file:" ? decodeURIComponent(location.pathname).replace(/\/[^/]*$/, "") : "";

const FOLD = 3; // so many rows of a group are shown
const nameOf = (check) => `${check.key} ${check.check}`;
const order = DATA.checks.map((check, position) => ({ check, position }));
const unfolded = new Set();
let chosen = [];
let lines = [];
let shown = 0;
let opened = "";

// Long names break where a reader would break them.
const breakable = (text) => text.split(/(?<=[\/_:.[-])(?=[A-Za-z])/).flatMap((part, number) => (number ? [el("wbr"), part] : [part]));

function fill(id, values, every) {
  const options = [["", every], ...[...new Set(values)].filter(Boolean).sort().map((one) => [one, one])];
  at(id).append(...options.map(([value, text]) => el("option", { value }, text)));
}

// The address holds the filter and the opened check, so that it can be sent.
const FIELDS = ["search", "verdict", "cause", "key", "sort"];
function address() {
  const parts = new URLSearchParams();
  for (const id of FIELDS) if (at(id).value && at(id).value !== at(id).dataset.usual) parts.set(id, at(id).value);
  if (opened) parts.set("check", opened);
  return `${location.href.split("#")[0]}${String(parts) && `#${parts}`}`;
}

const remember = () => history.replaceState(null, "", address());

function recall() {
  const parts = new URLSearchParams(location.hash.slice(1));
  for (const id of FIELDS) at(id).value = parts.get(id) ?? at(id).dataset.usual ?? "";
  const wanted = parts.get("check");
  const found = wanted && order.find((one) => nameOf(one.check) === wanted);
  if (found) unfolded.add(groupOf(found.check));
  choose();
  if (!found) return;
  const place = lines.findIndex((one) => one.check === found.check);
  while (place >= shown) extend();
  const row = [...document.querySelectorAll(".row")].find((one) => one.dataset.name === wanted);
  if (row?.getAttribute("aria-expanded") === "false") row.click();
  row?.scrollIntoView();
}

function matches(check) {
  const text = at("search").value.trim().toLowerCase();
  return (!text || check.check.toLowerCase().includes(text))
    && (!at("verdict").value || check.verdict === at("verdict").value)
    && (!at("cause").value || check.cause === at("cause").value)
    && (!at("key").value || check.key === at("key").value);
}

const SORTS = {
  urgency: (one, two) => one.position - two.position,
  share: (one, two) => larger(shareOf, one, two) || larger(farOf, one, two) || one.position - two.position,
  far: (one, two) => larger(farOf, one, two) || one.position - two.position,
  check: (one, two) => (one.check.check < two.check.check ? -1 : 1),
};

SORTS.groups = SORTS.urgency;

const causeOf = (check) => DATA.causes[check.evidence] ?? [];
const groupOf = (check) => JSON.stringify([check.verdict, check.cause, check.evidence]);

// Drifts with the same evidence are one group; a search shows every row of it.
function arranged() {
  if (at("sort").value !== "groups") return chosen;
  const groups = new Map();
  for (const one of chosen) {
    const name = groupOf(one.check);
    if (!groups.has(name)) groups.set(name, []);
    groups.get(name).push(one);
  }
  return [...groups].flatMap(([name, members]) => {
    const folded = !at("search").value.trim() && !unfolded.has(name) && members.length > FOLD + 1;
    const rows = folded ? members.slice(0, FOLD) : members;
    return [{ members }, ...rows, ...(folded ? [{ name, rest: members.length - FOLD }] : [])];
  });
}

function choose() {
  chosen = order.filter((one) => matches(one.check)).sort(SORTS[at("sort").value]);
  lines = arranged();
  shown = 0;
  opened = "";
  at("list").replaceChildren();
  extend();
  for (const chip of document.querySelectorAll(".chip")) {
    chip.setAttribute("aria-pressed", String(chip.dataset.verdict === at("verdict").value));
  }
}

function extend() {
  const next = lines.slice(shown, shown + CHUNK);
  at("list").append(...next.map((one) => (one.check ? item(one.check) : one.members ? heading(one.members) : fold(one))));
  shown += next.length;
  at("more").hidden = shown >= lines.length;
  const rows = lines.slice(0, shown).filter((one) => one.check).length;
  at("shown").textContent = `${rows} of ${chosen.length} shown`;
  remember();
}

function heading(members) {
  const { verdict, cause } = members[0].check, [sentence, ...lines] = causeOf(members[0].check);
  const count = `${members.length} ${members.length === 1 ? "check" : "checks"}`;
  const same = sentence && members.length > 1 ? "the same cause: " : "";
  return el("div", { class: "group" },
    el("h2", {}, el("span", { class: `v-${verdict}` }, `${count}: ${verdict}${cause ? `, ${cause}` : ""}`)),
    sentence ? el("p", {}, `${same}${sentence}`) : null,
    lines.length ? el("p", { class: "quiet" }, ...breakable(lines.slice(0, 2).join("; "))) : null);
}

function fold({ name, rest }) {
  const button = el("button", { type: "button", class: "fold" }, `Show ${rest} more like these`);
  button.addEventListener("click", () => {
    const place = [...document.querySelectorAll(".row, .fold")].indexOf(button);
    unfolded.add(name);
    choose();
    document.querySelectorAll(".row, .fold")[place]?.focus();
  });
  return button;
}

function size(check) {
  const share = shareOf(check);
  const used = !share ? "" : Number.isFinite(share) ? `${figure(share)} of tolerance` : "exact wanted";
  return [check.rel_l2 === undefined ? "" : `rel_l2 ${figure(check.rel_l2)}`, used].filter(Boolean).join(", ");
}

function item(check) {
  const row = el("button", { type: "button", class: "row", "aria-expanded": "false", "data-name": nameOf(check) },
    thumbnails(check),
    el("span", { class: "name" }, ...breakable(check.check)),
    el("span", { class: "word" }, el("b", { class: `v-${check.verdict}` }, check.verdict), check.cause ? ` ${check.cause}` : ""),
    el("span", { class: "share" }, size(check)));
  const box = el("div", { class: "check" }, row);
  row.addEventListener("click", () => toggle(check, row, box));
  return box;
}

function thumbnails(check) {
  const one = (DATA.views[nameOf(check)] ?? []).find((view) => view.pictures.length);
  const pictures = one ? one.pictures.filter((picture) => picture.label !== "baseline").slice(-2) : [];
  return el("span", { class: "thumbs", "aria-hidden": "true" }, ...pictures.map((picture) => {
    const tall = picture.height / one.planes, scale = 44 / Math.max(picture.width, tall);
    const img = el("img", { src: source(picture), alt: "", loading: "lazy", decoding: "async", width: picture.width * scale,
      height: picture.height * scale, ...(isGrey(picture) && picture.label !== "observed" ? { class: "heat" } : {}) });
    img.style.transform = `translateY(${-((one.worst ?? 0) - (one.first ?? 0)) * tall * scale}px)`;
    const box = el("span", {}, img);
    box.style.width = `${picture.width * scale}px`;
    box.style.height = `${tall * scale}px`;
    return box;
  }));
}

function toggle(check, row, box) {
  const open = row.getAttribute("aria-expanded") === "true";
  row.setAttribute("aria-expanded", String(!open));
  if (open) box.lastChild.remove();
  else box.append(detail(check));
  opened = open ? "" : nameOf(check);
  remember();
}

function section(title, ...children) {
  return children.length ? [el("h2", {}, title), ...children] : [];
}

function detail(check) {
  const [sentence, ...lines] = causeOf(check);
  const sentences = [sentence, check.noise, ...(check.detail ?? []), ...lines].filter(Boolean);
  return el("div", { class: "detail" },
    el("div", { class: "main" },
      check.cut ? el("p", { class: "note" }, "The details of this check are in report.json: the page would grow too large.") : null,
      ...(DATA.views[nameOf(check)] ?? []).filter((one) => !one.only_row).flatMap(view),
      ...section("Growth over the steps", ...growth(check.growth)),
      ...section("Where it began", ...list(check.began), ...cells(check.cells)),
      ...section("Noise", ...ledger(check.draws)),
      ...section("Environments", ...environments(check))),
    el("aside", {},
      ...section("Why", ...list([...new Set(sentences)])),
      ...section("Facts", ...facts(check)),
      ...section("Run again", ...command(`pytest ${quoted(check.check.slice(0, check.check.lastIndexOf("::")))}`)),
      ...section("Accept", ...accept(check)),
      ...section("Link", ...link(check)),
      ...section("Figures", ...figures(check))));
}

function list(sentences) {
  return sentences?.length ? [el("ul", {}, ...sentences.map((one) => el("li", {}, one)))] : [];
}

function facts(check) {
  const rows = [
    ["gate", check.gate], ["key", check.key],
    ["reference", check.reference && `${check.distance}: ${check.reference}`],
    ["baseline", check.manifest && check.manifest + (check.recorded_at ? `, recorded ${check.recorded_at}` : "")],
    ["called at", check.called_at],
    ["tolerance", check.tolerance && `${check.tolerance}, from ${check.tolerance_origin ?? "nowhere"}`],
    ["would pass", check.passing_tolerance && `tolerance=${check.passing_tolerance}`],
    ["runs", check.runs && `${check.runs} bitwise equal`],
  ].filter(([, value]) => value);
  return [el("table", {}, ...rows.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value))))];
}

const source = (picture) => `data:image/png;base64,${picture.png}`;
// The colour type of a PNG is its 26th byte: 0 is grey.
const isGrey = (picture) => atob(picture.png.slice(0, 36)).charCodeAt(25) === 0;

const ANCHORS = [[0, 0, 0], [63, 60, 140], [33, 145, 140], [140, 208, 80], [253, 231, 60]];
const ODD = 255; // NaN or infinite on one side only
const MAPS = {
  heat: (value) => {
    const place = (value / (ODD - 1)) * (ANCHORS.length - 1), low = Math.min(Math.floor(place), ANCHORS.length - 2);
    return ANCHORS[low].map((one, c) => Math.round(one + (ANCHORS[low + 1][c] - one) * (place - low)));
  },
  grey: (value) => [value, value, value].map((one) => Math.round((one * 255) / (ODD - 1))),
};

function view(one) {
  const parts = one.pictures.length ? viewer(one) : [];
  if (one.histogram) parts.push(el("p", { class: "quiet" }, "How many elements differ by how much (observed - baseline, logarithmic counts)"), histogram(one.histogram));
  if (one.note) parts.push(el("p", { class: "quiet" }, one.note));
  return section(one.path ? `Tensor ${one.path}` : "Tensor", ...parts);
}

function viewer(one) {
  const tall = one.pictures[0].height / one.planes, wide = one.pictures[0].width;
  const state = { zoom: 1, x: 0, y: 0 };
  const stage = el("div", { class: "stage", tabindex: "0", role: "group", "data-mode": "side", "aria-label": `pictures of ${one.path || "the value"}` });
  const panes = one.pictures.map((picture) => {
    const canvas = el("canvas", { width: wide, height: tall, role: "img", "data-label": picture.label, "aria-label": `${picture.label} of ${one.path || "the value"}` });
    const pane = el("figure", { "data-label": picture.label }, el("div", { class: "pane" }, canvas),
      el("figcaption", {}, picture.label === "map" ? "difference" : picture.label));
    return { picture, canvas, pane, pixels: null };
  });
  stage.append(...panes.map((pane) => pane.pane));
  // Few pixels are drawn as large squares, many as many as there is room for.
  stage.style.setProperty("--wide", `${wide * Math.max(1, Math.floor(256 / Math.max(wide, tall)))}px`);
  const controls = tools(one, panes, stage);
  const paint = () => {
    const options = controls.read();
    for (const pane of panes) if (pane.pixels) pane.canvas.getContext("2d").putImageData(coloured(pane, options, wide, tall), 0, 0);
    if (panes.every((pane) => pane.pixels)) stage.dataset.painted = `${Number(stage.dataset.painted ?? 0) + 1}`;
  };
  const place = () => {
    for (const axis of ["x", "y"]) state[axis] = Math.min(0, Math.max(1 - state.zoom, state[axis]));
    stage.style.setProperty("--zoom", state.zoom);
    stage.style.setProperty("--x", `${state.x * 100}%`);
    stage.style.setProperty("--y", `${state.y * 100}%`);
  };
  const zoom = (factor, across = 0.5, down = 0.5) => {
    const next = Math.min(64, Math.max(1, state.zoom * factor));
    state.x = across - ((across - state.x) * next) / state.zoom;
    state.y = down - ((down - state.y) * next) / state.zoom;
    state.zoom = next;
    place();
  };
  const whole = () => { Object.assign(state, { zoom: 1, x: 0, y: 0 }); place(); };
  // One pixel of the picture for one of the screen.
  const natural = () => { whole(); zoom(Math.max(1, wide / panes[0].canvas.clientWidth)); };
  controls.act(paint, zoom, whole, natural);
  moved(stage, state, zoom, place, whole, controls);
  Promise.all(panes.map(async (pane) => { pane.pixels = await decoded(pane.picture); })).then(paint);
  return [controls.bar, stage, ...controls.under];
}

async function decoded(picture) {
  const image = new Image();
  image.src = source(picture);
  await image.decode();
  const canvas = el("canvas", { width: picture.width, height: picture.height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(image, 0, 0);
  return context.getImageData(0, 0, picture.width, picture.height).data;
}

function coloured({ picture, pixels }, { plane, channel, factor, map }, wide, tall) {
  const target = new ImageData(wide, tall), start = plane * wide * tall * 4;
  const values = target.data;
  const isDifference = picture.label === "difference" || picture.label === "map";
  const table = MAPS[map] && Array.from({ length: ODD }, (_, value) => MAPS[map](value));
  for (let at = 0; at < values.length; at += 4) {
    let rgb = [pixels[start + at], pixels[start + at + 1], pixels[start + at + 2]];
    if (channel >= 0) rgb = [rgb[channel], rgb[channel], rgb[channel]];
    if (isDifference) {
      const most = Math.max(...rgb);
      if (most === ODD) rgb = [255, 0, 255];
      else if (table) rgb = table[Math.min(ODD - 1, Math.round(most * factor))];
      else rgb = rgb.map((value) => Math.min(255, value * factor));
    }
    values.set(rgb, at);
    values[at + 3] = 255;
  }
  return target;
}

const MODES = [["side", "side by side"], ["overlay", "overlay"], ["blink", "blink"]];

function tools(one, panes, stage) {
  const option = ([value, text]) => el("option", { value }, text);
  const range = (attributes) => el("input", { type: "range", ...attributes });
  const both = panes.filter((pane) => ["baseline", "observed"].includes(pane.picture.label)).length === 2;
  const modes = MODES.map(([value, text]) => el("button", { type: "button", "data-mode": value, "aria-pressed": String(value === "side") }, text));
  const split = range({ min: "0", max: "100", value: "50", "aria-label": "how much of the observed picture is shown" });
  const plane = range({ min: "0", max: String(one.planes - 1), value: String((one.worst ?? 0) - (one.first ?? 0)), class: "plane", "aria-label": one.plane || "plane" });
  const words = el("output", {});
  const play = el("button", { type: "button", class: "play", "aria-pressed": "false" }, "play");
  const channel = el("select", { "aria-label": "channel" }, ...[["-1", "all channels"], ["0", "red"], ["1", "green"], ["2", "blue"]].map(option));
  const amplify = range({ min: "0", max: "8", step: "0.5", value: "0", "aria-label": "amplification of the difference", class: "amplify" });
  const map = el("select", { "aria-label": "colours of the difference" }, ...[["heat", "heat"], ["grey", "grey"], ["own", "by channel"]].map(option));
  const legend = el("p", { class: "scale" });
  const zooms = [["-", "smaller"], ["+", "larger"], ["fit", "whole picture"], ["1:1", "one pixel for one pixel"]]
    .map(([text, title]) => el("button", { type: "button", title, "aria-label": title }, text));
  const isColour = !isGrey(panes[0].picture);
  const hasDifference = panes.some((pane) => ["difference", "map"].includes(pane.picture.label));
  if (!isColour) map.lastChild.remove();
  const read = () => ({ plane: Number(plane.value), channel: Number(channel.value), factor: 2 ** Number(amplify.value), map: map.value });
  let blinking = 0, playing = 0;
  const stop = () => { clearInterval(playing); playing = 0; play.textContent = "play"; play.setAttribute("aria-pressed", "false"); };
  const choose = (mode) => {
    if (!both) return;
    clearInterval(blinking);
    stage.dataset.mode = mode;
    split.parentElement.hidden = mode !== "overlay";
    for (const button of modes) button.setAttribute("aria-pressed", String(button.dataset.mode === mode));
    stage.classList.remove("swapped");
    if (mode === "blink" && !matchMedia("(prefers-reduced-motion: reduce)").matches) {
      blinking = setInterval(() => (stage.isConnected ? swap() : clearInterval(blinking)), 600);
    }
  };
  const swap = () => stage.classList.toggle("swapped");
  const said = () => {
    const { factor } = read(), number = Number(plane.value) + (one.first ?? 0);
    words.textContent = one.plane ? `${one.plane} ${number} of ${one.total}, counted from 0${number === one.worst && hasDifference ? "; it differs most" : ""}` : "";
    legend.replaceChildren(...scale(one, factor, map.value));
  };
  const labelled = (text, ...parts) => el("label", {}, text, ...parts);
  const bar = el("div", { class: "tools" },
    ...(both ? [el("span", { role: "group", "aria-label": "view" }, ...modes), labelled("observed ", split)] : []),
    ...(one.planes > 1 ? [el("span", {}, plane, play, words)] : []),
    ...(isColour ? [channel] : []),
    ...(hasDifference && one.largest ? [labelled("amplify ", amplify), map] : []),
    el("span", { role: "group", "aria-label": "zoom" }, ...zooms));
  split.parentElement && (split.parentElement.hidden = true);
  const act = (paint, zoom, whole, natural) => {
    const change = () => { said(); paint(); };
    for (const input of [plane, channel, amplify, map]) input.addEventListener("input", change);
    for (const button of modes) button.addEventListener("click", () => choose(button.dataset.mode));
    split.addEventListener("input", () => stage.style.setProperty("--split", `${split.value}%`));
    const acts = [() => zoom(0.5), () => zoom(2), whole, natural];
    zooms.forEach((button, number) => button.addEventListener("click", acts[number]));
    play.addEventListener("click", () => {
      if (playing) return stop();
      play.textContent = "stop";
      play.setAttribute("aria-pressed", "true");
      playing = setInterval(() => (stage.isConnected ? step(1) : stop()), 125);
    });
    said();
  };
  const step = (by) => {
    plane.value = String((Number(plane.value) + by + one.planes) % one.planes);
    plane.dispatchEvent(new Event("input"));
  };
  const smaller = one.full?.[0] > one.pictures[0].height / one.planes
    ? el("p", { class: "quiet" }, `drawn with ${one.pictures[0].height / one.planes} x ${one.pictures[0].width} of ${one.full.join(" x ")} pixels; of the difference each shows the largest of its block`) : null;
  return { bar, read, act, choose, swap, step, under: [legend, smaller].filter(Boolean) };
}

// Drag, arrows, double click, and the wheel with Ctrl: all pictures move in step.
function moved(stage, state, zoom, place, whole, controls) {
  const at = (event) => {
    const box = event.target.closest(".pane").getBoundingClientRect();
    return [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  };
  const isPane = (event) => event.target.closest(".pane");
  stage.addEventListener("wheel", (event) => {
    if (!isPane(event) || !(event.ctrlKey || event.metaKey)) return;
    event.preventDefault();
    zoom(event.deltaY < 0 ? 1.25 : 0.8, ...at(event));
  }, { passive: false });
  stage.addEventListener("dblclick", (event) => isPane(event) && zoom(2, ...at(event)));
  let from = null;
  stage.addEventListener("pointerdown", (event) => {
    if (!isPane(event) || state.zoom === 1) return;
    from = at(event);
    event.target.setPointerCapture(event.pointerId);
  });
  stage.addEventListener("pointermove", (event) => {
    if (!from) return;
    const to = at(event);
    state.x += to[0] - from[0];
    state.y += to[1] - from[1];
    from = to;
    place();
  });
  for (const end of ["pointerup", "pointercancel"]) stage.addEventListener(end, () => { from = null; });
  const keys = {
    1: () => controls.choose("side"), 2: () => controls.choose("overlay"), 3: () => controls.choose("blink"),
    "+": () => zoom(2), "=": () => zoom(2), "-": () => zoom(0.5), 0: whole, b: controls.swap,
    "[": () => controls.step(-1), "]": () => controls.step(1),
    ArrowLeft: () => { state.x += 0.1; }, ArrowRight: () => { state.x -= 0.1; },
    ArrowUp: () => { state.y += 0.1; }, ArrowDown: () => { state.y -= 0.1; },
  };
  stage.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !Object.hasOwn(keys, event.key)) return;
    if (event.key.startsWith("Arrow") && state.zoom === 1) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
    place();
  });
}

function scale(one, factor, map) {
  const odd = one.has_odd ? el("span", { class: "odd" }, "NaN or infinite on one side only") : null;
  if (!one.largest) return odd ? [odd] : [];
  const colours = el("span", { class: `colours ${map}`, "aria-hidden": "true" });
  const top = factor > 1 ? `${figure(one.largest / factor)} and more; the largest is ${figure(one.largest)}` : figure(one.largest);
  return ["difference: 0 ", colours, el("span", { class: "top" }, top), odd].filter(Boolean);
}

function histogram(one) {
  const [width, height] = [420, 110];
  const most = Math.max(...one.counts.map((count) => Math.log1p(count)));
  const svg = drawn("svg", { width, height: height + 18, viewBox: `0 0 ${width} ${height + 18}`, role: "img" });
  svg.append(drawn("title", {}, `histogram of the difference from ${figure(one.low)} to ${figure(one.high)}`));
  const step = width / one.counts.length;
  one.counts.forEach((count, position) => {
    const tall = (Math.log1p(count) / most) * height;
    const bar = drawn("rect", { class: "bar", x: position * step + 1, y: height - tall, width: step - 2, height: tall });
    bar.append(drawn("title", {}, `${count}`));
    svg.append(bar);
  });
  svg.append(drawn("line", { class: "axis", x1: 0, x2: width, y1: height, y2: height }),
    drawn("text", { x: 0, y: height + 14 }, figure(one.low)),
    drawn("text", { x: width / 2, y: height + 14, "text-anchor": "middle" }, "0"),
    drawn("text", { x: width, y: height + 14, "text-anchor": "end" }, figure(one.high)));
  return svg;
}

function growth(points) {
  if (!points?.length) return [];
  const [width, height, left] = [520, 150, 60];
  const sizes = points.map((one) => numberOf(one.rel_l2));
  const positive = sizes.filter((one) => one > 0 && Number.isFinite(one)).map(Math.log10);
  if (!positive.length) return [];
  const low = Math.floor(Math.min(...positive)), high = Math.max(Math.ceil(Math.max(...positive)), low + 1);
  const x = (position) => left + (points.length < 2 ? 0 : (position / (points.length - 1)) * (width - left - 10));
  const y = (size) => 8 + (size > 0 ? (high - Math.log10(size)) / (high - low) : 1) * (height - 30);
  const svg = drawn("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img" });
  svg.append(drawn("title", {}, `rel_l2 after each of ${points.length} steps, from ${figure(sizes[0])} to ${figure(sizes.at(-1))}`));
  for (let power = low; power <= high; power += Math.max(1, Math.round((high - low) / 5))) {
    const tall = y(10 ** power);
    svg.append(drawn("line", { class: "axis", x1: left, x2: width, y1: tall, y2: tall }),
      drawn("text", { x: left - 6, y: tall + 4, "text-anchor": "end" }, `1e${power}`));
  }
  const finite = sizes.map((size, position) => [x(position), y(Math.min(size, 10 ** high))]);
  svg.append(drawn("polyline", { class: "curve", points: finite.map((one) => one.join(",")).join(" ") }));
  finite.forEach(([across, down], position) => {
    const dot = drawn("circle", { class: "dot", cx: across, cy: down, r: 3 });
    dot.append(drawn("title", {}, `${points[position].scheduler} step ${points[position].position}: rel_l2 ${figure(points[position].rel_l2)}`));
    svg.append(dot);
  });
  svg.append(drawn("text", { x: left, y: height - 4 }, "first step"), drawn("text", { x: width, y: height - 4, "text-anchor": "end" }, "last step"));
  return [svg];
}

// The calls come in the order in which they ended: the first with equal inputs is the innermost.
function cells(calls) {
  if (!calls?.length) return [];
  const first = calls.find((one) => one.change && one.change !== "inputs") ?? calls.find((one) => one.change);
  const root = { inner: new Map() };
  for (const call of calls) {
    let node = root;
    for (const part of call.name.split(".")) {
      if (!node.inner.has(part)) node.inner.set(part, { inner: new Map() });
      node = node.inner.get(part);
      node.differs ||= Boolean(call.change);
    }
    if (!node.call?.change) node.call = call;
  }
  return [branch(root, first)];
}

const CHANGES = { "": "equal", signal: "equal inputs, another output", inputs: "other inputs", absent: "only in the baseline", extra: "only in this run", order: "in another order" };

function branch(node, first) {
  return el("ul", { class: "tree" }, ...[...node.inner].map(([name, one]) => {
    const call = one.call, isFirst = call && call === first;
    const words = call ? ` ${isFirst ? "the first that differs: " : ""}${CHANGES[call.change] ?? call.change}${call.rel_l2 ? `, rel_l2 ${figure(call.rel_l2)}` : ""}` : "";
    const text = [el(isFirst ? "mark" : "code", {}, name), el("span", { class: "quiet" }, words)];
    if (!one.inner.size) return el("li", {}, ...text);
    return el("li", {}, el("details", one.differs ? { open: "" } : {}, el("summary", {}, ...text), branch(one, first)));
  }));
}

function figures(check) {
  return (check.differences ?? []).map(([path, one]) => {
    const worst = (place) => place && `${figure(place.amount)} at (${place.index.join(", ")}): baseline ${place.baseline}, observed ${place.observed}`;
    const odd = (place) => place && `${place.count} ${place.count === 1 ? "place differs" : "places differ"}, first (${place.index.join(", ")}): baseline ${place.baseline}, observed ${place.observed}`;
    const rows = [
      ["differ", one.statistics_only ? "the baseline's tensor is absent: statistics only" : `${one.differing_count} of ${one.element_count} elements`],
      ["NaN and inf", odd(one.non_finite)],
      ["worst abs", worst(one.worst_abs)], ["worst rel", worst(one.worst_rel)], ["worst ulp", worst(one.worst_ulp)],
      ["overall", `rel_l2 ${figure(one.rel_l2)}, mean abs ${figure(one.mean_abs)}, cosine distance ${figure(one.cosine)}, psnr ${figure(one.psnr_db)} dB`],
    ].filter(([, value]) => value);
    const head = el("thead", {}, el("tr", {}, ...["statistic", "baseline", "observed"].map((name) => el("th", { scope: "col" }, name))));
    const body = Object.keys(one.baseline_statistics).map((name) => {
      const [before, now] = [one.baseline_statistics[name], one.observed_statistics[name]];
      return el("tr", before === now ? {} : { class: "differs" }, el("th", { scope: "row" }, name), el("td", {}, String(before)), el("td", {}, String(now)));
    });
    return el("div", {}, path ? el("p", {}, el("code", {}, path)) : null,
      el("table", {}, ...rows.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value)))),
      el("table", { class: "statistics" }, head, el("tbody", {}, ...body)));
  });
}

function ledger(number) {
  return number === undefined ? [] : [el("pre", {}, DATA.ledgers[number].join("\n"))];
}

function environments(check) {
  const now = DATA.environments[check.site], before = DATA.environments[check.baseline_site];
  if (!now) return [];
  const of = (side) => new Map([["key", side.key], ...side.facts.map(([name, value]) => [name, value])]);
  const [old, seen] = [before ? of(before) : new Map(), of(now)];
  const marked = new Set([...now.facts, ...(before?.facts ?? [])].filter((fact) => fact[2]).map((fact) => fact[0]));
  const names = [...new Set([...seen.keys(), ...old.keys()])];
  const differs = (name) => before && (old.get(name) ?? "") !== (seen.get(name) ?? "");
  names.sort((one, two) => differs(two) - differs(one) || (one < two ? -1 : 1));
  const rows = names.map((name) => el("tr", differs(name) ? { class: "differs" } : {},
    el("th", { scope: "row" }, name + (marked.has(name) ? " *" : "")),
    el("td", {}, before ? old.get(name) || "absent" : "no baseline"), el("td", {}, seen.get(name) || "absent")));
  const head = el("thead", {}, el("tr", {}, ...["fact (* changes bits)", "baseline", "observed"].map((one) => el("th", { scope: "col" }, one))));
  const count = names.filter(differs).length;
  return [el("details", count ? { open: "" } : {}, el("summary", {}, before ? `${count} of ${names.length} facts differ` : `${names.length} facts`), el("table", {}, head, el("tbody", {}, ...rows)))];
}

function accept(check) {
  if (!(check.runs >= 2) || check.verdict === "nondeterministic" || check.verdict === "corrupt") {
    return check.runs ? [el("p", { class: "quiet" }, "Cannot be accepted: it was not bitwise equal in two runs.")] : [];
  }
  const text = `pytest-repro accept ${FOLDER ? quoted(FOLDER) : "DIR"} --check ${quoted(check.check)} --yes`;
  const place = FOLDER ? "Run it in the project's folder" : "DIR is this report's folder; run it in the project's";
  return [el("p", { class: "quiet" }, `${place}. Without --yes it only shows what would change.`), ...command(text)];
}

function command(text) {
  return [el("pre", { class: "command" }, text), copying("Copy", () => text)];
}

function link(check) {
  return [copying("Copy the link to this check", () => {
    opened = nameOf(check);
    return address();
  })];
}

function copying(label, text) {
  const button = el("button", { type: "button", class: "copy" }, label);
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(text()); button.textContent = "Copied"; }
    catch { button.textContent = "Select the text and copy it"; }
  });
  return button;
}

function move(step) {
  const rows = [...document.querySelectorAll(".row, .fold")];
  // From inside an open check, too: its row is where we are.
  const now = rows.indexOf(document.activeElement.closest(".check")?.querySelector(".row") ?? document.activeElement);
  rows[Math.min(rows.length - 1, Math.max(0, now + step))]?.focus();
}

fill("verdict", order.map((one) => one.check.verdict), "every verdict");
fill("cause", order.map((one) => one.check.cause), "every cause");
fill("key", order.map((one) => one.check.key), "every key");
for (const id of FIELDS) at(id).addEventListener("input", choose);
at("bar").addEventListener("submit", (event) => event.preventDefault());
at("more").addEventListener("click", extend);
for (const chip of document.querySelectorAll(".chip")) {
  chip.addEventListener("click", () => {
    at("verdict").value = at("verdict").value === chip.dataset.verdict ? "" : chip.dataset.verdict;
    choose();
  });
}
document.addEventListener("keydown", (event) => {
  if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "/") { event.preventDefault(); at("search").focus(); }
  // Arrows scroll, as everywhere, unless a closed row has the focus: an open check is read.
  const arrows = event.target.matches(".row[aria-expanded=false]");
  if (event.key === "j" || (arrows && event.key === "ArrowDown")) { event.preventDefault(); move(1); }
  if (event.key === "k" || (arrows && event.key === "ArrowUp")) { event.preventDefault(); move(-1); }
});
addEventListener("hashchange", recall);
recall();
document.documentElement.dataset.ready = "yes";
