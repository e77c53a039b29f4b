"use strict";
(() => {
  const all = (selector, root = document) => Array.from(root.querySelectorAll(selector));
  const byId = (id) => document.getElementById(id);
  const cards = all(".card");
  const list = byId("cards");
  const viewer = byId("viewer");
  const stage = byId("stage");
  const visible = () => Array.from(list.children).filter((card) => !card.hidden);
  const cardOf = (row) => byId("sample-" + row);

  // What is shown on every picture. One state, and as many check boxes for it as there are.

  const shown = new Map(all("[data-toggle]").map((box) => [box.dataset.toggle, box.checked]));

  function paint(root) {
    for (const part of all("[data-structure]", root)) {
      const isMask = part.classList.contains("mask");
      part.toggleAttribute("hidden", !shown.get("structure " + part.dataset.structure) || (isMask && !shown.get("masks")));
    }
  }

  function frameCards() {
    for (const picture of all(".card .overlay")) {
      picture.setAttribute("viewBox", shown.get("whole") ? picture.dataset.whole : picture.dataset.close);
    }
  }

  function set(name, value) {
    shown.set(name, value);
    for (const box of all("[data-toggle]")) {
      if (box.dataset.toggle === name) box.checked = value;
    }
    if (name === "whole") frameCards();
    document.body.classList.toggle("pixels", shown.get("pixels"));
    paint(document);
  }

  for (const box of all("[data-toggle]")) {
    box.addEventListener("change", () => set(box.dataset.toggle, box.checked));
  }

  // Which cards are shown, and in what order.

  const filters = all("[data-filter]");
  const order = byId("order");

  function fits(card, name, wanted) {
    if (wanted === "any") return true;
    if (name !== "finding") return wanted === "=" + card.dataset[name];
    const codes = card.dataset.findings.split(" ").filter(Boolean);
    if (wanted === "some") return codes.length > 0;
    if (wanted === "none") return codes.length === 0;
    return codes.includes(wanted.slice(1));
  }

  function filter() {
    for (const card of cards) {
      card.hidden = !filters.every((choice) => fits(card, choice.dataset.filter, choice.value));
    }
    const count = visible().length;
    const some = filters.some((choice) => choice.value !== "any");
    byId("found").textContent = some ? count + " of " + cards.length + " samples" : count + (count === 1 ? " sample" : " samples");
    byId("clear").hidden = !some;
    byId("empty").hidden = count > 0;
  }

  function clear() {
    for (const choice of filters) choice.value = "any";
    filter();
  }

  for (const choice of filters) choice.addEventListener("change", filter);
  byId("clear").addEventListener("click", () => {
    clear();
    filters[0].focus();
  });
  order.addEventListener("change", () => {
    cards.sort((one, other) => one.dataset[order.value] - other.dataset[order.value]);
    list.append(...cards);
  });

  // Arrow keys lead from card to card.

  list.addEventListener("keydown", (event) => {
    const pictures = visible().map((card) => card.querySelector(".picture"));
    const here = pictures.indexOf(event.target);
    if (here < 0 || event.altKey || event.ctrlKey || event.metaKey) return;
    const top = pictures[0].offsetTop;
    const columns = pictures.filter((picture) => picture.offsetTop === top).length;
    const steps = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -columns, ArrowDown: columns };
    const goals = { Home: 0, End: pictures.length - 1 };
    const goal = event.key in goals ? goals[event.key] : here + steps[event.key];
    if (!(goal >= 0 && goal < pictures.length)) return;
    event.preventDefault();
    pictures[goal].focus();
  });

  // The viewer: one sample, large, with zoom.

  let current = null;
  let picture = null;
  let view = null;

  const numbers = (text) => text.split(" ").map(Number);

  function show(box) {
    const [left, top, width, height] = numbers(picture.dataset.whole);
    const size = Math.min(Math.max(box.size, 6), Math.max(width, height));
    const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
    view = {
      size,
      x: clamp(box.x, left, left + width),
      y: clamp(box.y, top, top + height),
    };
    picture.setAttribute("viewBox", [view.x - size / 2, view.y - size / 2, size, size].join(" "));
    measure();
  }

  // A bar as long as a round number of mm, or of pixels where their size is unknown.

  function measure() {
    const dots = picture.getScreenCTM().a / (Number(picture.dataset.mm) || 1);
    const length = [1, 2, 5, 10, 20, 50, 100].filter((mm) => mm * dots <= 160).pop() || 1;
    byId("bar").style.width = length * dots + "px";
    byId("bar-text").textContent = length + (picture.dataset.mm ? " mm" : " px");
  }

  function showBox(text) {
    const [left, top, width, height] = numbers(text);
    show({ x: left + width / 2, y: top + height / 2, size: Math.max(width, height) });
  }

  const zoom = (factor) => show({ ...view, size: view.size * factor });

  function fit() {
    const [, , width, height] = numbers(picture.dataset.whole);
    showBox(view.size < Math.max(width, height) ? picture.dataset.whole : picture.dataset.close);
  }

  function place(event) {
    const point = new DOMPoint(event.clientX, event.clientY);
    return point.matrixTransform(picture.getScreenCTM().inverse());
  }

  function zoomAt(event, factor) {
    const before = place(event);
    zoom(factor);
    const after = place(event);
    show({ ...view, x: view.x + before.x - after.x, y: view.y + before.y - after.y });
  }

  const middle = (text) => {
    const [left, top, width, height] = numbers(text);
    return { x: left + width / 2, y: top + height / 2 };
  };

  // Stepping keeps the zoom, and the place relative to what is outlined.

  function present(card, keep) {
    const before = keep && view && { ...view, from: middle(picture.dataset.close) };
    current = card;
    const sample = card.querySelector(".overlay");
    picture = sample.cloneNode(true);
    stage.replaceChildren(picture);
    if (before) {
      const to = middle(picture.dataset.close);
      show({ size: before.size, x: to.x + before.x - before.from.x, y: to.y + before.y - before.from.y });
    } else {
      showBox(shown.get("whole") ? picture.dataset.whole : picture.dataset.close);
    }
    byId("viewer-file").textContent = card.dataset.file;
    showNeighbours(card);
    history.replaceState(null, "", "#" + card.id);
    byId("viewer-name").textContent = card.querySelector(".name").textContent;
    byId("viewer-place").textContent = card.querySelector(".place").textContent;
    const copies = (selector) => Array.from(card.querySelector(selector).children, (child) => child.cloneNode(true));
    byId("viewer-chips").replaceChildren(...copies(".chips"));
    const facts = card.querySelector(".facts").cloneNode(true);
    facts.hidden = false;
    byId("viewer-facts").replaceChildren(facts);
    showDecisions(facts);
    const row = visible();
    const here = row.indexOf(card);
    byId("position").textContent = here + 1 + " of " + row.length;
    byId("previous").disabled = here <= 0;
    byId("next").disabled = here >= row.length - 1;
  }

  function step(by) {
    const row = visible();
    const card = row[row.indexOf(current) + by];
    if (card) present(card, true);
  }

  // What lies beside a sample: the other phase of its location, and its phase one location up and down.

  function showNeighbours(card) {
    const here = Number(card.dataset.location);
    const same = cards.filter((other) => here >= 0 && other !== card && other.dataset.stack === card.dataset.stack);
    const at = (location, fits) => same.find((other) => Number(other.dataset.location) === location && fits(other));
    const beat = (other) => other.dataset.beat === card.dataset.beat;
    const found = [
      ["one slice up", at(here - 1, beat)],
      [null, at(here, (other) => other.dataset.phase && other.dataset.phase !== card.dataset.phase)],
      ["one slice down", at(here + 1, beat)],
    ];
    byId("neighbours").replaceChildren(...found.filter(([, other]) => other).map(([name, other]) => {
      const button = document.createElement("button");
      const text = (name ? name : "the same slice at " + other.dataset.phase);
      button.type = "button";
      button.append(other.querySelector(".overlay").cloneNode(true), text);
      button.addEventListener("click", () => present(other, true));
      return button;
    }));
  }

  function open(card) {
    if (card.hidden) clear();
    viewer.showModal();
    present(card);
    byId("viewer-name").focus();
  }

  list.addEventListener("click", (event) => {
    const button = event.target.closest(".picture");
    if (button) open(button.closest(".card"));
  });
  document.addEventListener("click", (event) => {
    const link = event.target.closest("[data-open]");
    if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    open(cardOf(link.dataset.open));
  });

  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("in").addEventListener("click", () => zoom(1 / 1.5));
  byId("out").addEventListener("click", () => zoom(1.5));
  byId("fit").addEventListener("click", fit);
  byId("close").addEventListener("click", () => viewer.close());
  viewer.addEventListener("close", () => {
    // After stepping through the gallery, go on at the last picture; after a finding, the browser returns to it.
    if (document.activeElement && document.activeElement.classList.contains("picture")) {
      current.querySelector(".picture").focus();
    }
    stage.replaceChildren();
    history.replaceState(null, "", location.pathname + location.search);
  });
  window.addEventListener("resize", () => viewer.open && measure());
  for (const name of ["level", "window"]) {
    byId(name).addEventListener("input", (event) => viewer.style.setProperty("--" + name, event.target.value));
  }

  function toggleAll(names) {
    const value = !names.some((name) => shown.get(name));
    for (const name of names) set(name, value);
  }

  viewer.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.matches("input[type=text], input[type=range]")) return;
    const structures = Array.from(shown.keys()).filter((name) => name.startsWith("structure "));
    const actions = {
      ArrowLeft: () => step(-1),
      ArrowRight: () => step(1),
      "+": () => zoom(1 / 1.5),
      "=": () => zoom(1 / 1.5),
      "-": () => zoom(1.5),
      0: fit,
      c: () => toggleAll(structures),
      m: () => toggleAll(["masks"]),
    };
    const action = actions[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (!action) return;
    event.preventDefault();
    action();
  });

  // Wheel, drag and pinch.

  const held = new Map();
  const spread = () => {
    const [one, other] = Array.from(held.values());
    return Math.hypot(one.clientX - other.clientX, one.clientY - other.clientY);
  };

  stage.addEventListener("wheel", (event) => {
    event.preventDefault();
    zoomAt(event, Math.exp(event.deltaY * 0.0015));
  }, { passive: false });
  stage.addEventListener("dblclick", fit);
  stage.addEventListener("pointerdown", (event) => {
    stage.setPointerCapture(event.pointerId);
    held.set(event.pointerId, event);
    stage.classList.add("held");
  });
  stage.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (!before) return;
    if (held.size === 2) {
      const wide = spread();
      held.set(event.pointerId, event);
      zoomAt(event, wide / Math.max(spread(), 1));
      return;
    }
    const from = place(before);
    const to = place(event);
    held.set(event.pointerId, event);
    show({ ...view, x: view.x + from.x - to.x, y: view.y + from.y - to.y });
  });
  for (const end of ["pointerup", "pointercancel"]) {
    stage.addEventListener(end, (event) => {
      held.delete(event.pointerId);
      if (!held.size) stage.classList.remove("held");
    });
  }

  // Decisions: what a person marked, kept by the browser, exported as a file. Each is about the first six columns but
  // the decision: patient, image, frame, structure, code, sha256.

  const data = JSON.parse(byId("decisions").dataset.before);
  const columns = data.columns;
  const column = (name) => columns.indexOf(name);
  const about = ["patient_id", "source_image", "frame", "structure", "code", "sha256"].map(column);
  const storage = "dicom-etl decisions " + data.seal;
  const decided = new Map();
  for (const row of data.decided) {
    decided.set(JSON.stringify(about.map((index) => row[index])), row);
  }
  try {
    for (const [target, row] of JSON.parse(localStorage.getItem(storage) || "[]")) decided.set(target, row);
    byId("who").value = localStorage.getItem("dicom-etl who") || "";
  } catch {
    // A browser that keeps nothing still exports.
  }

  const keyOf = (part) => JSON.stringify(JSON.parse(part.dataset.target));

  function rowOf(target) {
    if (!decided.has(target)) {
      const row = columns.map(() => "");
      JSON.parse(target).forEach((value, index) => { row[about[index]] = value; });
      decided.set(target, row);
    }
    return decided.get(target);
  }

  function showDecisions(root) {
    for (const part of all(".decide", root)) {
      const row = decided.get(keyOf(part)) || [];
      for (const button of all("[data-choice]", part)) {
        button.setAttribute("aria-pressed", button.dataset.choice === row[column("decision")]);
      }
      part.querySelector("input").value = row[column("why")] || "";
    }
    const count = Array.from(decided.values()).filter((row) => row[column("decision")]).length;
    byId("decided").textContent = count ? count + (count === 1 ? " decision." : " decisions.") : "Nothing is decided yet.";
  }

  function change(part, name, value) {
    const row = rowOf(keyOf(part));
    row[column(name)] = name === "decision" && row[column(name)] === value ? "" : value;
    row[column("who")] = byId("who").value;
    if (!row[column("decision")] && !row[column("why")]) decided.delete(keyOf(part));
    try {
      localStorage.setItem(storage, JSON.stringify(Array.from(decided)));
    } catch {
      // As above.
    }
    showDecisions(document);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-choice]");
    if (button) change(button.closest(".decide"), "decision", button.dataset.choice);
  });
  document.addEventListener("change", (event) => {
    const part = event.target.closest(".decide");
    if (part) change(part, "why", event.target.value.trim());
    if (event.target.id !== "who") return;
    try {
      localStorage.setItem("dicom-etl who", event.target.value);
    } catch {
      // As above.
    }
  });
  byId("decisions").addEventListener("submit", (event) => {
    event.preventDefault();
    const quoted = (text) => (/[",\r\n]/.test(text) ? '"' + text.replaceAll('"', '""') + '"' : text);
    const lines = [columns, ...decided.values()].map((row) => row.map(quoted).join(",") + "\r\n");
    const link = document.createElement("a");
    link.download = "decisions.csv";
    link.href = "data:text/csv;charset=utf-8," + encodeURIComponent(lines.join(""));
    link.click();
  });
  showDecisions(document);
  byId("decisions").hidden = false;

  // A browser that goes back restores check boxes and choices, not what they did.
  byId("tools").reset();
  byId("tools").addEventListener("submit", (event) => event.preventDefault());
  for (const [name] of shown) set(name, name !== "whole" && name !== "pixels");
  filter();
  byId("tools").hidden = false;

  // An address that ends in #sample-12 opens that sample.
  const wanted = () => location.hash.startsWith("#sample-") && cardOf(location.hash.slice(8));
  const follow = () => wanted() && !viewer.open && open(wanted());
  window.addEventListener("hashchange", follow);
  follow();
})();
