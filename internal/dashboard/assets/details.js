// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// All that is known of one host.

import { byID, element, keyed, setAttribute, setText } from "./dom.js";
import { ageElement, setAge, slotStates } from "./words.js";

// drawHost shows a host; without one, nothing is shown.
export function drawHost(host) {
  byID("host").hidden = !host;
  if (!host) return;
  setText(byID("host-title"), host.name);
  setText(byID("host-says"), [host.reason !== host.phase && host.reason, host.message].filter(Boolean).join(": "));
  setText(byID("host-next"), `kubectl mandelbox logs instance/${host.name}`);
  const facts = [
    ["Phase", host.phase], ["Channel", host.channel], ["Release", `${host.revision} (${host.release})`], ["Region", host.region],
    ["Zone", host.zone], ["Type", host.type], ["EC2 instance", host.instanceID], ["Address", host.ip],
    ["Created", new Date(host.created).toLocaleString()],
  ];
  keyed(
    byID("host-facts"), facts.filter(([, value]) => value), ([name]) => name,
    ([name]) => element("div", {}, element("dt", {}, name), element("dd")),
    (node, [, value]) => setText(node.lastChild, value),
  );
  keyed(
    byID("host-slots"), host.slots, (slot) => slot.number,
    (slot) => element("tr", {},
      element("th", { scope: "row" }, String(slot.number)),
      element("td", {}, element("i", { class: "slot", "aria-hidden": "true" }), element("span")),
      element("td"), element("td"), element("td", {}, ageElement())),
    (node, slot) => {
      const [, state, session, user, since] = node.children;
      setAttribute(state.firstChild, "data-state", slot.state);
      setText(state.lastChild, slotStates[slot.state] ?? slot.state);
      setText(session, slot.session ?? "");
      setText(user, slot.user ?? "");
      setAge(since.firstChild, slot.since);
    },
  );
}
