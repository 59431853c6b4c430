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
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** Create a button that calls `act` when pressed. */
export function button(properties, act, ...children) {
  const made = element("button", { type: "button", ...properties }, ...children);
  made.addEventListener("click", act);
  return made;
}
