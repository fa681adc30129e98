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
  return Number.isSafeInteger(number) ? String(number) : String(Number(number.toPrecision(4)));
};
const shareOf = (check) => numberOf(check.share ?? 0);
// The value gate comes before any distance: another dtype or shape, NaN in other places.
const farOf = (check) => (check.gate === "value" ? Infinity : numberOf(check.rel_l2 ?? 0));
// Infinity - Infinity is NaN, and NaN || next is the next: equal shares are told apart by distance.
const larger = (of, one, two) => of(two.check) - of(one.check) || 0;
const quoted = (text) => "'" + text.replaceAll("'", "'\\''") + "'";

// Opened from a disk the page knows its folder, and the command can be copied unchanged.
const FOLDER = location.protocol === "file:" ? decodeURIComponent(location.pathname).replace(/\/[^/]*$/, "") : "";

const order = DATA.checks.map((check, position) => ({ check, position }));
let chosen = [];
let shown = 0;

function fill(id, values, every) {
  const options = [["", every], ...[...new Set(values)].filter(Boolean).sort().map((one) => [one, one])];
  at(id).append(...options.map(([value, text]) => el("option", { value }, text)));
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

function choose() {
  chosen = order.filter((one) => matches(one.check)).sort(SORTS[at("sort").value]);
  shown = 0;
  at("list").replaceChildren();
  extend();
  for (const chip of document.querySelectorAll(".chip")) {
    chip.setAttribute("aria-pressed", String(chip.dataset.verdict === at("verdict").value));
  }
}

function extend() {
  const next = chosen.slice(shown, shown + CHUNK);
  at("list").append(...next.map((one) => item(one.check)));
  shown += next.length;
  at("more").hidden = shown >= chosen.length;
  at("shown").textContent = `${shown} of ${chosen.length} shown`;
}

function size(check) {
  const share = shareOf(check);
  const used = !share ? "" : Number.isFinite(share) ? `${figure(share)} of tolerance` : "exact wanted";
  return [check.rel_l2 === undefined ? "" : `rel_l2 ${figure(check.rel_l2)}`, used].filter(Boolean).join(", ");
}

function item(check) {
  const row = el("button", { type: "button", class: "row", "aria-expanded": "false" },
    el("span", { class: `v-${check.verdict}` }, check.verdict),
    el("span", { class: "quiet" }, check.cause ?? ""),
    el("span", { class: "name" }, check.check),
    el("span", { class: "share" }, size(check)));
  const box = el("div", { class: "check" }, row);
  row.addEventListener("click", () => toggle(check, row, box));
  return box;
}

function toggle(check, row, box) {
  const open = row.getAttribute("aria-expanded") === "true";
  row.setAttribute("aria-expanded", String(!open));
  if (open) box.lastChild.remove();
  else box.append(detail(check));
}

function section(title, ...children) {
  return children.length ? [el("h2", {}, title), ...children] : [];
}

function detail(check) {
  const sentences = [check.noise, ...(check.detail ?? []), ...(check.evidence ?? [])].filter(Boolean);
  return el("div", { class: "detail" },
    ...facts(check),
    check.cut ? el("p", { class: "note" }, "The details of this check are in report.json: the page would grow too large.") : null,
    ...section("Why", ...list(sentences)),
    ...section("Where it began", ...list(check.began)),
    ...section("Growth over the steps", ...growth(check.growth)),
    ...(DATA.views[`${check.key} ${check.check}`] ?? []).flatMap(view),
    ...section("Figures", ...figures(check)),
    ...section("Noise", ...ledger(check.draws)),
    ...section("Environments", ...environments(check)),
    ...section("Accept", ...accept(check)));
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

function view(one) {
  const parts = [];
  const images = one.pictures.map((picture) => {
    const scale = Math.max(1, Math.floor(192 / Math.max(picture.width, picture.height)));
    const label = picture.label === "map" ? "difference" : picture.label;
    return el("figure", {},
      el("img", { src: `data:image/png;base64,${picture.png}`, width: picture.width * scale,
        height: picture.height * scale, alt: `${picture.label} of ${one.path || "the value"}`,
        "data-label": picture.label }),
      el("figcaption", {}, label));
  });
  if (images.length) parts.push(el("div", { class: "pictures" }, ...images));
  if (one.pictures.some((picture) => picture.label === "map")) parts.push(...scale(one));
  if (images.length && one.largest) parts.push(slider(one, images));
  if (one.histogram) parts.push(el("p", { class: "quiet" }, "How many elements differ by how much (observed - baseline, logarithmic counts)"), histogram(one.histogram));
  if (one.note) parts.push(el("p", { class: "quiet" }, one.note));
  return section(one.path ? `Tensor ${one.path}` : "Tensor", ...parts);
}

function scale(one) {
  const odd = one.has_odd ? el("span", { class: "odd" }, "NaN or infinite on one side only") : null;
  if (!one.largest) return odd ? [el("p", { class: "scale" }, odd)] : [];
  const colours = el("span", { class: "colours", "aria-hidden": "true" });
  return [el("p", { class: "scale" }, "0 ", colours, el("span", { class: "top" }, figure(one.largest)), odd)];
}

function slider(one, images) {
  const input = el("input", { type: "range", min: "0", max: "8", step: "0.5", value: "0", "aria-label": "amplification of the difference" });
  const words = el("span", { class: "quiet" });
  const target = images[images.length - 1].firstChild;
  const show = () => {
    const factor = 2 ** Number(input.value);
    target.style.filter = `brightness(${factor})`;
    words.textContent = factor > 1 ? ` ${figure(factor)} times: all above ${figure(one.largest / factor)} is at its brightest`
      : ` brightest is ${figure(one.largest)}`;
  };
  input.addEventListener("input", show);
  show();
  return el("p", {}, el("label", {}, "amplify ", input), words);
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

function figures(check) {
  return (check.differences ?? []).map(([path, one]) => {
    const worst = (place) => place && `${figure(place.amount)} at (${place.index.join(", ")}): baseline ${place.baseline}, observed ${place.observed}`;
    const odd = (place) => place && `${place.count} ${place.count === 1 ? "place disagrees" : "places disagree"}, first (${place.index.join(", ")}): baseline ${place.baseline}, observed ${place.observed}`;
    const rows = [
      ["differ", one.statistics_only ? "the baseline's tensor is absent: statistics only" : `${one.differing_count} of ${one.element_count} elements`],
      ["NaN and inf", odd(one.non_finite)],
      ["worst abs", worst(one.worst_abs)], ["worst rel", worst(one.worst_rel)], ["worst ulp", worst(one.worst_ulp)],
      ["over all", `rel_l2 ${figure(one.rel_l2)}, mean abs ${figure(one.mean_abs)}, cosine ${figure(one.cosine)}, psnr ${figure(one.psnr_db)} dB`],
    ].filter(([, value]) => value);
    const head = el("thead", {}, el("tr", {}, ...["statistic", "baseline", "observed"].map((name) => el("th", { scope: "col" }, name))));
    const body = Object.keys(one.baseline_statistics).map((name) => {
      const [before, now] = [one.baseline_statistics[name], one.observed_statistics[name]];
      return el("tr", before === now ? {} : { class: "differs" }, el("th", { scope: "row" }, name), el("td", {}, String(before)), el("td", {}, String(now)));
    });
    return el("div", {}, path ? el("p", {}, el("code", {}, path)) : null,
      el("table", {}, ...rows.map(([name, value]) => el("tr", {}, el("th", { scope: "row" }, name), el("td", {}, value)))),
      el("table", {}, head, el("tbody", {}, ...body)));
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
  const command = `pytest-repro accept ${FOLDER ? quoted(FOLDER) : "DIR"} --check ${quoted(check.check)} --yes`;
  const button = el("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    try { await navigator.clipboard.writeText(command); button.textContent = "Copied"; }
    catch { button.textContent = "Select the text and copy it"; }
  });
  const place = FOLDER ? "Run it in the project's folder" : "DIR is this report's folder; run it in the project's";
  return [el("p", {}, `${place}. Without --yes it only shows what would change.`), el("pre", { class: "command" }, command), button];
}

function move(step) {
  const rows = [...document.querySelectorAll(".row")];
  // From inside an open check, too: its row is where we are.
  const now = rows.indexOf(document.activeElement.closest(".check")?.querySelector(".row"));
  rows[Math.min(rows.length - 1, Math.max(0, now + step))]?.focus();
}

fill("verdict", order.map((one) => one.check.verdict), "every verdict");
fill("cause", order.map((one) => one.check.cause), "every cause");
fill("key", order.map((one) => one.check.key), "every key");
for (const id of ["search", "verdict", "cause", "key", "sort"]) at(id).addEventListener("input", choose);
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
choose();
document.documentElement.dataset.ready = "yes";
