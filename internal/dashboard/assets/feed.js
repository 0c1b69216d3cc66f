// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// The fleet as the server tells it: named pieces, all of them at first and then
// those that change. The browser connects again by itself.

export class Feed {
  // pieces are the fleet, by name.
  pieces = new Map();

  // listen calls changed with the names of the pieces that are new, other or gone,
  // and lost when the server can't be reached.
  listen(changed, lost) {
    const source = new EventSource("events");
    source.onmessage = (event) => {
      const patch = JSON.parse(event.data);
      const names = new Set([...Object.keys(patch.set ?? {}), ...(patch.gone ?? [])]);
      if (patch.first) {
        for (const name of this.pieces.keys()) names.add(name);
        this.pieces.clear();
      }
      for (const [name, piece] of Object.entries(patch.set ?? {})) this.pieces.set(name, piece);
      for (const name of patch.gone ?? []) this.pieces.delete(name);
      changed(names);
    };
    source.onerror = lost;
  }
}
