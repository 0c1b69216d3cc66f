// Copyright The Mandelbox Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// How the page's parts touch the document: only where something differs, so that a
// change in the fleet costs as many nodes as it is large.

export const byID = (id) => document.getElementById(id);

// element makes one with attributes and children; a child that is no node is text.
export function element(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) setAttribute(node, name, value);
  node.append(...children);
  return node;
}

// setAttribute sets an attribute; one that is null, undefined or false is none.
export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// setWords sets a text like NoInstanceAvailable that is to break between its words.
export function setWords(node, text) {
  if (node.textContent === text) return;
  const [first, ...rest] = text.split(/(?<=[a-z])(?=[A-Z])/);
  node.replaceChildren(first, ...rest.flatMap((word) => [document.createElement("wbr"), word]));
}

// keyed gives a parent one child for each item, in their order. A child is made
// once for each key, and filled anew with every call.
export function keyed(parent, items, keyOf, make, fill) {
  const known = parent.byKey ?? new Map();
  const kept = new Map();
  let at = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    const node = known.get(key) ?? make(item);
    kept.set(key, node);
    fill(node, item);
    if (node === at) at = at.nextElementSibling;
    else parent.insertBefore(node, at);
  }
  for (const [key, node] of known) if (!kept.has(key)) node.remove();
  parent.byKey = kept;
}
