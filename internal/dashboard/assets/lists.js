// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// What stands around the map: what is wrong, the channels with their rollouts, the
// queue, the totals, and how the page stands to the cluster.

import { byID, element, keyed, setAttribute, setText, setWords } from "./dom.js";
import { ageElement, count, number, setAge, slotStates } from "./words.js";

export function drawTotals(t) {
  const rows = [
    ["Sessions", number(t.running), "running"],
    ["Waiting", number(t.waiting), "for a slot"],
    ["Slots", number(t.free), `of ${number(t.slots)} free`],
    ["Hosts", number(t.activeHosts), `of ${number(t.hosts)} active`],
  ];
  if (t.namespace) rows.push(["Namespace", t.namespace, "whose sessions these are"]);
  keyed(
    byID("totals"), rows, ([name]) => name,
    ([name]) => element("div", { "data-total": name }, element("dt", {}, name), element("dd", {}, element("b"), " ", element("span"))),
    (node, [name, value, of]) => {
      setText(node.querySelector("b"), value);
      setText(node.querySelector("span"), of);
      setAttribute(node, "data-some", name === "Waiting" && t.waiting > 0);
    },
  );
}

// drawTroubles lists what is wrong; show is called with the name of a host.
export function drawTroubles(troubles, show) {
  setAttribute(byID("wrong"), "data-any", troubles.length > 0);
  const fine = { reason: "Nothing is wrong.", fine: true };
  keyed(
    byID("troubles"), troubles.length ? troubles : [fine],
    (t) => (t.fine ? "fine" : `${t.severity} ${t.kind} ${t.reason} ${t.kind === "Instance" || t.kind === "Mandelbox" ? "" : t.names[0]}`),
    () => element("li", {},
      element("strong"), element("span", { class: "whose" }), element("span", { class: "faint" }, "for ", ageElement()),
      element("p", { class: "message" }), element("code")),
    (node, t) => {
      const [reason, whose, since, message, next] = node.children;
      setAttribute(node, "class", t.fine ? "fine" : t.severity);
      setText(reason, t.reason);
      since.hidden = next.hidden = message.hidden = Boolean(t.fine);
      if (t.fine) return;
      drawNames(whose, t, show);
      setAge(since.querySelector("time"), t.since);
      setText(message, t.message ?? "");
      setText(next, t.next);
    },
  );
}

// drawNames names the objects of a trouble: hosts as buttons that lead to them.
function drawNames(node, t, show) {
  const names = t.kind === "Instance" ? t.names : [];
  const rest = t.count - t.names.length;
  const more = rest > 0 ? ` and ${number(rest)} more` : "";
  const pieces = [`${t.kind} `, ...names.map((name) => ({ name })), names.length ? more : t.names.join(", ") + more];
  keyed(
    node, pieces, (p) => p.name ?? `text ${pieces.indexOf(p)}`,
    (p) => {
      if (!p.name) return element("span");
      const button = element("button", { class: "link", type: "button" }, p.name);
      button.addEventListener("click", () => show(p.name));
      return button;
    },
    (child, p) => setText(child, p.name ?? p),
  );
}

export function drawChannels(channels) {
  keyed(
    byID("channels"), channels, (c) => c.name,
    () => element("li", {},
      element("div", { class: "head" }, element("h3"), element("span", { class: "state" }), element("span", { class: "commit" })),
      element("p", { class: "message" }), element("p", { class: "faint" }, "for ", ageElement()), element("ul", { class: "steps" })),
    (node, c) => {
      const [head, message, since, steps] = node.children;
      const [name, state, commit] = head.children;
      const moving = !c.rolledOut;
      setAttribute(node, "data-state", c.state);
      setText(name, c.name);
      setText(state, c.suspended ? "suspended" : c.state === "Ready" && !moving ? "" : c.reason || c.state);
      setText(commit, moving && c.commitHash !== c.wanted ? `${c.commitHash ?? "nothing"} → ${c.wanted}` : (c.commitHash ?? c.wanted));
      setText(message, moving ? (c.message ?? "") : "");
      since.hidden = !moving || !c.since;
      setAge(since.lastChild, c.since);
      keyed(steps, moving ? c.steps : [], (s) => s.region, newStep, fillStep);
    },
  );
}

const newStep = () =>
  element("li", {}, element("span", { class: "region-name" }), element("progress"), element("span", { class: "faint" }), element("p", { class: "message" }));

function fillStep(node, s) {
  const [region, bar, says, message] = node.children;
  setText(region, s.region);
  // Warm hosts, of all that the release has there; then old ones have to leave.
  setAttribute(bar, "max", Math.max(1, s.hosts));
  setAttribute(bar, "value", s.warm);
  setAttribute(bar, "aria-label", `Warm hosts of the release in ${s.region}`);
  const old = s.old ? `, ${number(s.old)} old` : "";
  setText(says, `${s.swapped ? "serves" : "warms"}: ${number(s.warm)} of ${count(s.hosts, "host")} warm${old}`);
  setText(message, s.message ?? "");
}

export function drawQueue({ total, first }) {
  byID("queue").hidden = total === 0;
  byID("queue-empty").hidden = total > 0;
  const more = byID("queue-more");
  more.hidden = total <= first.length;
  setText(more, `and ${number(total - first.length)} more: kubectl mandelbox sessions`);
  keyed(
    byID("waiting"), first, (w) => `${w.namespace}/${w.name}`,
    (w) => element("tr", {},
      element("th", { scope: "row" }, `${w.namespace}/${w.name}`), element("td"), element("td", { class: "reason" }), element("td", {}, ageElement())),
    (node, w) => {
      const [session, wants, reason, since] = node.children;
      setAttribute(session, "title", `user ${w.user}`);
      setText(wants, `${w.wants} in ${w.regions.join(", ")}`);
      setWords(reason, w.reason);
      setAttribute(reason, "title", w.message);
      setAge(since.firstChild, w.since);
    },
  );
}

// drawLink says how fresh the page is.
export function drawLink(link) {
  document.body.dataset.link = link.state;
  if (link.cluster) setText(byID("cluster"), link.cluster);
  setText(byID("link"), {
    live: "Live",
    loading: "Loading the fleet …",
    behind: `Behind since ${link.since ? new Date(link.since).toLocaleTimeString() : "?"}: ${link.error}`,
    lost: "The dashboard doesn’t answer: it was ended, or this machine slept. Trying again.",
  }[link.state]);
}

export function drawLegend() {
  byID("legend").replaceChildren(
    ...Object.entries(slotStates).map(([state, words]) => element("li", {}, element("i", { class: "slot", "data-state": state }), words)),
    element("li", {}, element("i", { class: "slot mark", "data-release": "coming" }), "coming release"),
    element("li", {}, element("i", { class: "slot mark", "data-release": "replaced" }), "old release"),
  );
}
