// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// The map: regions, in them channels, in those a tile for each host with its slots.

import { byID, element, setAttribute, setText } from "./dom.js";
import { hostLabel, number, slotLabel, taken, troubled } from "./words.js";

// manyHosts is from how many on tiles go without names, unless the reader says otherwise.
const manyHosts = 150;

export class FleetMap {
  #regions = new Map(); // name → { node, parts, channels: Map of name → channel }
  #hosts = new Map(); // name → { host, item, button, slots, channel, region }
  #current = null; // the button that Tab leads to
  #wanted = ""; // what is looked for
  #selected = "";
  #names = null; // whether tiles have names, if the reader has said so

  // show is called with the name of the host that the reader chooses.
  constructor(show) {
    this.root = byID("regions");
    this.root.addEventListener("click", (event) => {
      const button = event.target.closest(".host");
      if (button) show(button.dataset.name);
    });
    this.root.addEventListener("keydown", (event) => this.#move(event));
    this.root.addEventListener("focusin", (event) => {
      if (event.target.matches(".host")) this.#leadTo(event.target);
      this.#point(event.target);
    });
    this.root.addEventListener("pointerover", (event) => this.#point(event.target));
    this.root.addEventListener("pointerleave", () => setText(byID("pointed"), ""));
    const names = byID("names");
    names.addEventListener("click", () => {
      this.#names = names.getAttribute("aria-pressed") !== "true";
      this.#setDensity();
    });
  }

  get size() {
    return this.#hosts.size;
  }

  has(name) {
    return this.#hosts.has(name);
  }

  // change draws the pieces of these names anew.
  change(names, pieces) {
    const regions = [...names].filter((name) => name.startsWith("region/"));
    const hosts = [...names].filter((name) => name.startsWith("host/"));
    // What is gone goes first: then a region sees which of its channels are empty.
    for (const name of hosts) if (!pieces.has(name)) this.#removeHost(name.slice("host/".length));
    for (const name of regions) if (!pieces.has(name)) this.#removeRegion(name.slice("region/".length));
    for (const name of regions) if (pieces.has(name)) this.#setRegion(pieces.get(name));
    for (const name of hosts) if (pieces.has(name)) this.#setHost(pieces.get(name));
    byID("map-empty").hidden = !pieces.has("totals") || this.#regions.size > 0;
    this.#setDensity();
    if (this.#current === null) this.#leadTo(this.root.querySelector(".host"));
    if (this.#wanted) this.#tellFound();
  }

  // find dims what doesn't hold the words.
  find(words) {
    this.#wanted = words.trim().toLowerCase();
    for (const tile of this.#hosts.values()) this.#match(tile);
    this.#tellFound();
  }

  // select marks the host that is shown; an empty name marks none.
  select(name) {
    const before = this.#hosts.get(this.#selected);
    this.#selected = name;
    if (before) setAttribute(before.button, "aria-pressed", "false");
    const now = this.#hosts.get(name);
    if (now) setAttribute(now.button, "aria-pressed", "true");
  }

  // focus puts the keyboard on a host, if it is there, or else on the map.
  focus(name) {
    (this.#hosts.get(name)?.button ?? this.#current ?? byID("map")).focus();
  }

  #region(name) {
    let region = this.#regions.get(name);
    if (!region) {
      region = newRegion(name);
      this.#regions.set(name, region);
      const after = [...this.#regions.keys()].sort();
      const next = this.#regions.get(after[after.indexOf(name) + 1]);
      this.root.insertBefore(region.node, next?.node ?? null);
    }
    return region;
  }

  #channel(regionName, name) {
    const region = this.#region(regionName);
    let channel = region.channels.get(name);
    if (!channel) {
      channel = newChannel(regionName, name);
      region.channels.set(name, channel);
      const names = [...region.channels.keys()].sort();
      const next = region.channels.get(names[names.indexOf(name) + 1]);
      region.node.insertBefore(channel.node, next?.node ?? null);
    }
    return channel;
  }

  #setRegion(piece) {
    const { node, parts, channels } = this.#region(piece.name);
    const t = piece.totals;
    setAttribute(node, "data-state", piece.state);
    setText(parts.state, piece.state === "Ready" ? "" : piece.reason || piece.state);
    setText(parts.off, piece.enabled || piece.missing ? "" : "disabled");
    setText(parts.counts, counts(piece));
    setText(parts.message, piece.state === "Ready" ? "" : (piece.message ?? (piece.missing ? "There is no Region of this name." : "")));
    const shares = { taken: t.claimed, free: t.free, closed: t.slots - t.claimed - t.free };
    for (const [name, n] of Object.entries(shares)) parts.bar[name].style.flexGrow = String(n);
    for (const c of piece.channels ?? []) {
      setText(this.#channel(piece.name, c.name).commit, c.commitHash ?? "no release yet");
    }
    for (const [name, channel] of channels) {
      const listed = (piece.channels ?? []).some((c) => c.name === name);
      if (!listed && channel.hosts.length === 0) this.#removeChannel(channels, name);
    }
  }

  #removeChannel(channels, name) {
    channels.get(name).node.remove();
    channels.delete(name);
  }

  #removeRegion(name) {
    this.#regions.get(name)?.node.remove();
    this.#regions.delete(name);
  }

  #setHost(host) {
    let tile = this.#hosts.get(host.name);
    if (!tile) {
      tile = newTile(host);
      this.#hosts.set(host.name, tile);
      const channel = this.#channel(host.region, host.channel);
      tile.channel = channel;
      insert(channel, tile);
    }
    tile.host = host;
    const b = tile.button;
    setAttribute(b, "aria-label", hostLabel(host));
    setAttribute(b, "data-phase", host.phase);
    setAttribute(b, "data-release", host.release);
    setAttribute(b, "data-troubled", troubled(host));
    setAttribute(b, "aria-pressed", String(host.name === this.#selected));
    setText(tile.phase, host.open ? "" : host.phase);
    setText(tile.sum, host.slots.length ? `${taken(host)}/${host.slots.length}` : "");
    setSlots(tile, host.slots);
    this.#match(tile);
  }

  #removeHost(name) {
    const tile = this.#hosts.get(name);
    if (!tile) return;
    this.#hosts.delete(name);
    const { hosts } = tile.channel;
    const at = hosts.indexOf(tile);
    hosts.splice(at, 1);
    if (this.#current === tile.button) {
      const next = hosts[at] ?? hosts[at - 1];
      const focused = document.activeElement === tile.button;
      this.#current = null;
      this.#leadTo(next?.button ?? null);
      tile.item.remove();
      if (focused) this.focus(next?.host.name);
      return;
    }
    tile.item.remove();
  }

  // leadTo makes a host the one that Tab leads to.
  #leadTo(button) {
    if (this.#current && this.#current !== button) this.#current.tabIndex = -1;
    if (button) button.tabIndex = 0;
    this.#current = button;
  }

  #move(event) {
    const here = event.target.closest(".host");
    if (!here || event.altKey || event.ctrlKey || event.metaKey) return;
    const all = [...this.root.querySelectorAll(".host")];
    const at = all.indexOf(here);
    const to = {
      ArrowRight: () => all[at + 1],
      ArrowLeft: () => all[at - 1],
      ArrowDown: () => nearest(here, all.slice(at + 1)),
      ArrowUp: () => nearest(here, all.slice(0, at).reverse()),
      Home: () => all[0],
      End: () => all.at(-1),
    }[event.key]?.();
    if (!to) return;
    event.preventDefault();
    to.focus();
  }

  #match(tile) {
    const words = this.#wanted;
    const { host } = tile;
    const has = (...texts) => texts.some((text) => text?.toLowerCase().includes(words));
    const whole = has(host.name, host.phase, host.type, host.zone, host.instanceID, host.ip, host.reason);
    let some = false;
    host.slots.forEach((slot, i) => {
      const hit = words !== "" && has(slot.session, slot.user);
      some ||= hit;
      tile.slots[i].classList.toggle("hit", hit);
    });
    tile.matches = whole || some;
    tile.button.classList.toggle("off", words !== "" && !tile.matches);
  }

  #tellFound() {
    const n = [...this.#hosts.values()].filter((tile) => tile.matches).length;
    setText(byID("found"), this.#wanted === "" ? "" : `on ${number(n)} of ${number(this.size)} hosts`);
  }

  #setDensity() {
    const names = this.#names ?? this.size < manyHosts;
    setAttribute(byID("map"), "data-names", String(names));
    setAttribute(byID("names"), "aria-pressed", String(names));
  }

  // point says below what is under the pointer or the keyboard.
  #point(target) {
    const tile = this.#hosts.get(target.closest(".host")?.dataset.name);
    if (!tile) return;
    const slot = tile.host.slots[tile.slots.indexOf(target)];
    const parts = [hostLabel(tile.host)];
    if (slot) parts.push(slotLabel(slot));
    setText(byID("pointed"), parts.join(" — "));
  }
}

// counts says a region's numbers.
function counts({ totals: t, maxHosts }) {
  const parts = [`${number(t.free)} free`, `${number(t.claimed)} of ${number(t.slots)} taken`];
  if (t.waiting > 0) parts.push(`${number(t.waiting)} waiting`);
  parts.push(`${number(t.activeHosts)} of ${number(t.hosts)} hosts active`);
  if (maxHosts) parts.push(`at most ${number(maxHosts)}`);
  return parts.join(" · ");
}

function newRegion(name) {
  const parts = {
    state: element("span", { class: "state" }),
    off: element("span", { class: "disabled" }),
    counts: element("span", { class: "counts" }),
    message: element("p", { class: "message" }),
    bar: {
      taken: element("i", { class: "taken" }),
      free: element("i", { class: "free" }),
      closed: element("i", { class: "closed" }),
    },
  };
  const id = `region-${name}`;
  const bar = element("span", { class: "bar", "aria-hidden": "true" }, ...Object.values(parts.bar));
  const node = element(
    "section",
    { class: "region", "aria-labelledby": id },
    element("div", { class: "head" }, element("h3", { id }, name), parts.state, parts.off, parts.counts, bar),
    parts.message,
  );
  return { node, parts, channels: new Map() };
}

function newChannel(region, name) {
  const commit = element("span", { class: "commit" });
  const list = element("ul", { class: "hosts", "aria-label": `Hosts of ${name} in ${region}` });
  return { node: element("div", { class: "channel" }, element("h4", {}, name, " ", commit), list), commit, list, hosts: [] };
}

function newTile(host) {
  const tile = {
    host,
    phase: element("span", { class: "phase" }),
    sum: element("span", { class: "sum" }),
    strip: element("span", { class: "slots" }),
    slots: [],
  };
  tile.button = element(
    "button",
    { class: "host", type: "button", tabindex: "-1", "data-name": host.name },
    element("span", { class: "name" }, host.name), tile.strip, tile.sum, tile.phase,
  );
  tile.item = element("li", {}, tile.button);
  return tile;
}

function setSlots(tile, slots) {
  while (tile.slots.length > slots.length) tile.slots.pop().remove();
  while (tile.slots.length < slots.length) {
    const slot = element("i");
    tile.slots.push(slot);
    tile.strip.append(slot);
  }
  slots.forEach((slot, i) => setAttribute(tile.slots[i], "data-state", slot.state));
}

// insert puts a tile among those of its channel, which are in the order of their age.
function insert(channel, tile) {
  const before = (a, b) => a.created < b.created || (a.created === b.created && a.name < b.name);
  let low = 0;
  let high = channel.hosts.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (before(channel.hosts[middle].host, tile.host)) low = middle + 1;
    else high = middle;
  }
  channel.list.insertBefore(tile.item, channel.hosts[low]?.item ?? null);
  channel.hosts.splice(low, 0, tile);
}

// nearest is the host in the next row, of those that follow, that is nearest to this one.
function nearest(here, following) {
  const from = here.getBoundingClientRect();
  let row;
  let best;
  let least = Infinity;
  for (const button of following) {
    const { top, left, width } = button.getBoundingClientRect();
    if (Math.abs(top - from.top) < 4) continue;
    row ??= top;
    if (Math.abs(top - row) >= 4) break;
    const distance = Math.abs(left + width / 2 - from.left - from.width / 2);
    if (distance < least) [best, least] = [button, distance];
  }
  return best;
}
