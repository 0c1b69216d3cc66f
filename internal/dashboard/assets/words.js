// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// What the fleet is called in words: for labels that are read out, and for texts.

import { element, setAttribute, setText } from "./dom.js";

// slotStates are what a slot may be, as internal/view has it, in the order of the legend.
export const slotStates = {
  running: "running",
  starting: "starting",
  reserved: "reserved",
  ending: "ending",
  taken: "not yours to see",
  free: "free",
  closed: "closed",
};

const isTaken = (slot) => slot.state !== "free" && slot.state !== "closed";

export const taken = (host) => host.slots.filter(isTaken).length;

// number writes a number with separators.
const grouped = new Intl.NumberFormat("en");
export const number = (n) => grouped.format(n);

export const count = (n, thing) => `${number(n)} ${thing}${n === 1 ? "" : "s"}`;

// hostLabel says of a host what its tile shows.
export function hostLabel(host) {
  const parts = [host.name, host.phase];
  if (host.slots.length === 0) parts.push("no slots yet");
  else parts.push(`${taken(host)} of ${count(host.slots.length, "slot")} taken`);
  if (host.release !== "active") parts.push(`release ${host.release}`);
  if (troubled(host)) parts.push(host.reason || host.state);
  return parts.join(", ");
}

// slotLabel says what a slot does.
export function slotLabel(slot) {
  const parts = [`slot ${slot.number}: ${slotStates[slot.state] ?? slot.state}`];
  if (slot.session) parts.push(slot.session);
  if (slot.user) parts.push(`user ${slot.user}`);
  if (slot.since) parts.push(`for ${age(slot.since)}`);
  return parts.join(", ");
}

// troubled says whether a host is as it shouldn't be.
export const troubled = (host) => host.state === "Stalled" || host.phase === "Unresponsive";

// age is how long ago a time was, in two units at most.
export function age(since) {
  const seconds = Math.max(0, Math.round((Date.now() - Date.parse(since)) / 1000));
  if (seconds < 120) return `${seconds}s`;
  const minutes = Math.floor(seconds / 60);
  if (minutes < 60) return `${minutes}m`;
  const hours = Math.floor(minutes / 60);
  if (hours < 48) return minutes % 60 && hours < 10 ? `${hours}h${minutes % 60}m` : `${hours}h`;
  return `${Math.floor(hours / 24)}d`;
}

// ageElement is an age that stays right as time goes by.
export const ageElement = () => element("time", { class: "age" });

export function setAge(node, since) {
  setAttribute(node, "datetime", since);
  setText(node, since ? age(since) : "");
}

// growOlder brings every age on the page up to date.
export function growOlder() {
  for (const node of document.querySelectorAll("time.age[datetime]")) setText(node, age(node.dateTime));
}
