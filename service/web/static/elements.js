// Access to elements of the page, and creation of new ones.

/** The elements with an id: `some-id` is called someId. */
export const elementsById = () =>
  Object.fromEntries(
    [...document.querySelectorAll("[id]")].map((node) => [
      node.id.replace(/-(.)/g, (_, letter) => letter.toUpperCase()),
      node,
    ]),
  );

/** Create an element with DOM properties and children (elements or strings). */
export function element(name, properties = {}, ...children) {
  const node = Object.assign(document.createElement(name), properties);
  node.append(...children);
  return node;
}

/** Create a button that calls `onClick` when pressed. */
export function button(properties, onClick, ...children) {
  const node = element("button", { type: "button", ...properties }, ...children);
  node.addEventListener("click", onClick);
  return node;
}
