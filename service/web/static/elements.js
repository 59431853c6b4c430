// Elements that stand in the page, and those that scripts make.

/** The elements with an id: `some-id` is called someId. */
export const elementsById = () =>
  Object.fromEntries(
    [...document.querySelectorAll("[id]")].map((node) => [
      node.id.replace(/-(.)/g, (_, letter) => letter.toUpperCase()),
      node,
    ]),
  );

/** An element with these properties, as JavaScript names them, and these children: elements or texts. */
export function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

/** A button that does something when it is pressed. */
export function button(properties, act, ...children) {
  const made = element("button", { type: "button", ...properties }, ...children);
  made.addEventListener("click", act);
  return made;
}
