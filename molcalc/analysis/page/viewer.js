"use strict";
// Shows the views that the page holds. Texts go into the page as text only; nothing is fetched from anywhere.
(() => {
  const page = JSON.parse(document.getElementById("views").textContent);
  const element = (id) => document.getElementById(id);
  const FRAMES_PER_SWING = 24, PER_SECOND = 24, PER_SHAPE = 20000, FRONT = 0;
  const LINE = { radius: 0.03, color: "#606060", fromCap: 1, toCap: 1 };

  function decoded(text, kind) {
    const raw = atob(text), bytes = new Uint8Array(raw.length);
    for (let k = 0; k < raw.length; k++) bytes[k] = raw.charCodeAt(k);
    return new kind(bytes.buffer);
  }
  const point = (array, k) => ({ x: array[3 * k], y: array[3 * k + 1], z: array[3 * k + 2] });
  function added(kind, text, parent) {
    const child = document.createElement(kind);
    child.textContent = text;
    parent.appendChild(child);
    return child;
  }

  // Arrays of a view are made when it is shown for the first time.
  function opened(view) {
    if (view.open) return view.open;
    const open = {
      positions: decoded(view.positions, Float32Array),
      motion: view.motion && decoded(view.motion, Float32Array),
      cells: view.cells && decoded(view.cells, Float32Array),
      bonds: view.bonds.map((text) => decoded(text, Int32Array)),
    };
    const n = view.symbols.length;
    open.frames = view.motion ? FRAMES_PER_SWING : n ? open.positions.length / (3 * n) : 0;
    return (view.open = open);
  }

  let viewer, current, frame = 0, playing = false, last = 0, number = -1;
  const labels = [];

  function atomsAt(k) {
    const open = opened(current), n = current.symbols.length, still = current.motion !== null;
    const swing = still ? Math.sin((2 * Math.PI * k) / FRAMES_PER_SWING) : 0;
    const start = still ? 0 : 3 * n * k;
    const atoms = [];
    for (let a = 0; a < n; a++) {
      const at = [0, 1, 2].map((x) => open.positions[start + 3 * a + x] + (swing ? swing * open.motion[3 * a + x] : 0));
      atoms.push({ elem: current.symbols[a], x: at[0], y: at[1], z: at[2], index: a, serial: a, bonds: [], bondOrder: [] });
    }
    const pairs = open.bonds[still ? 0 : current.bonds_of_frame[k]];
    for (let b = 0; b < pairs.length; b += 2) {
      for (const [i, j] of [[pairs[b], pairs[b + 1]], [pairs[b + 1], pairs[b]]]) {
        atoms[i].bonds.push(j);
        atoms[i].bondOrder.push(1);
      }
    }
    return atoms;
  }

  function label(text, place) {
    labels.push(viewer.addLabel(text, { position: place, fontSize: 13, fontColor: "black", backgroundColor: "white",
      backgroundOpacity: 0.8, inFront: true }));
  }
  function withoutLabels() {
    while (labels.length) viewer.removeLabel(labels.pop());
  }

  // The atoms of one frame, and what moves with them.
  function drawFrame() {
    viewer.removeAllModels();
    withoutLabels();
    const atoms = atomsAt(frame), model = viewer.addModel();
    model.addAtoms(atoms);
    // Point charges are inside of most balls: these become small where those are shown.
    const size = current.sites !== null && element("show-sites").checked ? 0.3 : 1.0;
    model.setStyle({}, { stick: { radius: 0.1 * size, colorscheme: "Jmol" },
      sphere: { scale: 0.24 * size, colorscheme: "Jmol" } });
    model.setHoverable({}, true, (atom) => { label(`${atom.elem}${atom.index}`, atom); viewer.render(); },
      () => { withoutLabels(); drawLabels(); viewer.render(); });
    drawLabels(atoms);
    const texts = [current.captions[current.motion ? 0 : frame] || ""];
    if (!current.motion && opened(current).frames > 1) texts.push(`frame ${frame + 1} of ${opened(current).frames}`);
    element("caption").textContent = texts.filter(Boolean).join("; ");
    element("caption").hidden = !element("caption").textContent;
    element("frame").value = frame;
    viewer.render();
  }
  function drawLabels(atoms) {
    const numbers = element("show-labels").checked, charges = current.charges.length > 0 && element("show-charges").checked;
    if (numbers || charges)
      for (const atom of atoms || viewer.getModel().selectedAtoms({}))
        label([numbers ? `${atom.elem}${atom.index}` : "", charges ? current.charges[atom.index] : ""].join(" ").trim(), atom);
  }

  function drawSurface(surface) {
    const vertices = decoded(surface.vertices, Float32Array), normals = decoded(surface.normals, Int8Array);
    const colors = decoded(surface.colors, Uint8Array), faces = decoded(surface.faces, Uint32Array);
    // WebGL counts vertices of one object in 16 bits: large surfaces come in parts.
    for (let start = 0; start < faces.length; start += 3 * PER_SHAPE) {
      const own = new Map(), part = { vertexArr: [], normalArr: [], color: [], faceArr: [] };
      for (const vertex of faces.subarray(start, start + 3 * PER_SHAPE)) {
        if (!own.has(vertex)) {
          own.set(vertex, own.size);
          part.vertexArr.push(point(vertices, vertex));
          part.normalArr.push(point(normals, vertex));
          part.color.push((colors[3 * vertex] << 16) | (colors[3 * vertex + 1] << 8) | colors[3 * vertex + 2]);
        }
        part.faceArr.push(own.get(vertex));
      }
      viewer.addCustom({ ...part, side: FRONT, alpha: Number(element("opacity").value) });
    }
  }
  function drawSites(sites) {
    const positions = decoded(sites.positions, Float32Array), colors = decoded(sites.colors, Uint8Array);
    const radii = decoded(sites.radii, Float32Array);
    sites.texts.forEach((text, k) => {
      const center = point(positions, k);
      viewer.addSphere({ center, radius: radii[k], hoverable: true,
        color: (colors[3 * k] << 16) | (colors[3 * k + 1] << 8) | colors[3 * k + 2],
        hover_callback: () => { label(text, center); viewer.render(); },
        unhover_callback: () => { withoutLabels(); drawLabels(); viewer.render(); } });
    });
  }
  function drawCell() {
    const cells = opened(current).cells;
    if (!cells) return;
    const rows = cells.subarray(9 * frame, 9 * frame + 9);
    const corner = (a, b, c) => ({ x: a * rows[0] + b * rows[3] + c * rows[6], y: a * rows[1] + b * rows[4] + c * rows[7],
      z: a * rows[2] + b * rows[5] + c * rows[8] });
    for (const [a, b] of [[0, 0], [0, 1], [1, 0], [1, 1]])
      for (const ends of [[corner(0, a, b), corner(1, a, b)], [corner(a, 0, b), corner(a, 1, b)],
        [corner(a, b, 0), corner(a, b, 1)]]) viewer.addCylinder({ ...LINE, start: ends[0], end: ends[1] });
  }
  function drawArrows() {
    const { positions, motion } = opened(current);
    for (let k = 0; k < current.symbols.length; k++) {
      const start = point(positions, k), move = point(motion, k);
      if (Math.hypot(move.x, move.y, move.z) < page.arrow.smallest_move * current.swing) continue;
      const reach = page.arrow.longest / current.swing;
      viewer.addArrow({ start, end: { x: start.x + reach * move.x, y: start.y + reach * move.y, z: start.z + reach * move.z },
        radius: 0.05, radiusRatio: 2.2, mid: 0.75, color: "#c0392b" });
    }
  }
  function drawShapes() {
    viewer.removeAllShapes();
    if (current.motion !== null && element("show-arrows").checked) drawArrows();
    if (current.surface && Number(element("opacity").value) > 0) drawSurface(current.surface);
    if (current.sites && element("show-sites").checked) drawSites(current.sites);
    drawCell();
  }

  function drawScales() {
    const place = element("scales");
    place.replaceChildren();
    for (const [what, shown] of [["surface", Number(element("opacity").value) > 0], ["sites", element("show-sites").checked]]) {
      if (!current[what] || !shown) continue;
      const box = added("div", "", place);
      box.className = "scale";
      added("b", current[what].scale.title, box);
      const ramp = added("div", "", box);
      ramp.className = "ramp";
      ramp.style.background = `linear-gradient(to top, ${page.ramp.join(", ")})`;
      const ticks = added("div", "", box);
      ticks.className = "ticks";
      for (const text of current[what].scale.ticks) added("span", text, ticks);
    }
    place.hidden = !place.children.length;
    viewer.resize();
  }

  // Å across the molecule, around which 3Dmol leaves more room the smaller it is.
  function span() {
    const { positions } = opened(current), n = 3 * current.symbols.length;
    let widest = 0;
    for (let x = 0; x < 3; x++) {
      let low = Infinity, high = -Infinity;
      for (let k = x; k < n; k += 3) { low = Math.min(low, positions[k]); high = Math.max(high, positions[k]); }
      widest = Math.max(widest, high - low);
    }
    return widest;
  }
  function choose(k) {
    number = k;
    current = page.views[k];
    frame = 0;
    const many = opened(current).frames > 1;
    element("motion").hidden = !many;
    element("frame").max = Math.max(0, opened(current).frames - 1);
    element("for-surface").hidden = !current.surface;
    element("for-sites").hidden = !current.sites;
    element("for-arrows").hidden = current.motion === null;
    element("for-charges").hidden = !current.charges.length;
    for (const [j, row] of [...element("rows").children].entries()) row.classList.toggle("chosen", j === k);
    play(current.motion !== null);
    drawScales();
    drawShapes();
    drawFrame();
    viewer.zoomTo();
    viewer.zoom(1 + 5 / (2 + span()));
    viewer.setView([...viewer.getView().slice(0, 4), ...current.turn]);
  }
  function show(k) {
    frame = k;
    drawFrame();
    if (opened(current).cells) { drawShapes(); viewer.render(); }
  }
  function play(yes) {
    playing = yes && opened(current).frames > 1;
    element("play").textContent = playing ? "pause" : "play";
    if (playing) requestAnimationFrame(step);
  }
  function step(time) {
    if (!playing) return;
    if (time - last >= 1000 / (PER_SECOND * Number(element("speed").value))) {
      last = time;
      show((frame + 1) % opened(current).frames);
    }
    requestAnimationFrame(step);
  }

  function fillList() {
    const columns = [...new Set(page.views.flatMap((view) => Object.keys(view.facts)))];
    for (const name of ["", ...columns]) added("th", name, element("columns"));
    page.views.forEach((view, k) => {
      const row = added("tr", "", element("rows"));
      row.tabIndex = 0;
      for (const text of [view.title, ...columns.map((name) => view.facts[name] ?? "")]) added("td", text, row);
      row.addEventListener("click", () => { location.hash = k; });
      row.addEventListener("keydown", (event) => { if (event.key === "Enter") location.hash = k; });
    });
    element("list").hidden = page.views.length < 2 && !columns.length;
  }
  function ofAddress() {
    const k = Number(location.hash.slice(1));
    return Number.isInteger(k) && k >= 0 && k < page.views.length ? k : 0;
  }

  function start() {
    fillList();
    if (!document.createElement("canvas").getContext("webgl2")) {
      added("p", "This browser shows no pictures in space: it has no WebGL, or WebGL is switched off.", element("stage"))
        .id = "trouble";
      return;
    }
    viewer = $3Dmol.createViewer(element("viewer"), { backgroundColor: "white", antialias: true, orthographic: true });
    viewer.setHoverDuration(60);
    element("play").addEventListener("click", () => play(!playing));
    element("frame").addEventListener("input", () => { play(false); show(Number(element("frame").value)); });
    for (const id of ["show-labels", "show-charges"]) element(id).addEventListener("change", drawFrame);
    for (const id of ["opacity", "show-sites", "show-arrows"])
      element(id).addEventListener("change", () => { drawScales(); drawShapes(); drawFrame(); });
    addEventListener("hashchange", () => { if (ofAddress() !== number) choose(ofAddress()); });
    choose(ofAddress());
  }
  start();
})();
