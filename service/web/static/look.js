// The style of the maps, stored in the browser if possible.

const KEY = "captioner.look";
const DEFAULT = { smooth: true, opacity: 0.6 };

function readLook() {
  try {
    const { smooth, opacity } = JSON.parse(localStorage.getItem(KEY)) ?? DEFAULT;
    const isValid = typeof smooth === "boolean" && typeof opacity === "number";
    if (isValid && opacity >= 0 && opacity <= 1) return { smooth, opacity };
  } catch {
    // No storage, or foreign content.
  }
  return DEFAULT;
}

function saveLook(look) {
  try {
    localStorage.setItem(KEY, JSON.stringify(look));
  } catch {
    // Without storage, the style lasts as long as the page.
  }
}

/** Connect the toggle and the slider. onChange(look): also called at once. */
export function createLookControls(radios, slider, onChange) {
  let look = readLook();
  const change = (changes) => {
    look = { ...look, ...changes };
    saveLook(look);
    onChange(look);
  };
  for (const radio of radios) {
    radio.checked = (radio.value === "smooth") === look.smooth;
    radio.addEventListener("change", () => change({ smooth: radio.value === "smooth" }));
  }
  slider.value = String(Math.round(100 * look.opacity));
  slider.addEventListener("input", () => change({ opacity: Number(slider.value) / 100 }));
  onChange(look);
}
