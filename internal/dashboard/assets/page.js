// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// The page: it hears of changes and has each part draw its own.

import { byID } from "./dom.js";
import { drawHost } from "./details.js";
import { Feed } from "./feed.js";
import { drawChannels, drawLegend, drawLink, drawQueue, drawTotals, drawTroubles } from "./lists.js";
import { FleetMap } from "./map.js";
import { growOlder } from "./words.js";

// agePause is the time between two looks at the clock, in milliseconds.
const agePause = 5000;

const feed = new Feed();
const map = new FleetMap(show);
let shown = "";

// parts draw the pieces of their names.
const parts = {
  link: drawLink,
  totals: drawTotals,
  troubles: (troubles) => drawTroubles(troubles, show),
  channels: drawChannels,
  queue: drawQueue,
};

function changed(names) {
  for (const [name, draw] of Object.entries(parts)) {
    if (names.has(name) && feed.pieces.has(name)) draw(feed.pieces.get(name));
  }
  map.change(names, feed.pieces);
  if (names.has(`host/${shown}`)) drawHost(feed.pieces.get(`host/${shown}`));
  const troubles = feed.pieces.get("troubles")?.length ?? 0;
  document.title = `${troubles ? `(${troubles}) ` : ""}Mandelboxes ${feed.pieces.get("link")?.cluster ?? ""}`;
}

// show shows a host, and takes the keyboard there.
function show(name) {
  shown = name;
  map.select(name);
  drawHost(feed.pieces.get(`host/${name}`));
  if (map.has(name)) byID("host-title").focus({ preventScroll: true });
}

function close() {
  if (!shown) return;
  const was = shown;
  shown = "";
  map.select("");
  drawHost(undefined);
  map.focus(was);
}

byID("host-close").addEventListener("click", close);
byID("find").addEventListener("input", (event) => map.find(event.target.value));
document.addEventListener("keydown", (event) => {
  if (event.key === "/" && !event.target.matches("input")) {
    event.preventDefault();
    byID("find").focus();
  }
  if (event.key === "Escape" && !event.target.matches("input")) close();
});

drawLegend();
setInterval(growOlder, agePause);
feed.listen(changed, () => drawLink({ state: "lost" }));
