// A grid of many photos in which only those near the visible part of the page have elements.
const CELL_WIDTH = 250; // at least, in pixels
const CELL_HEIGHT = 344;
const GAP = 16;
const BEYOND = 600; // pixels above and below the visible part that have elements

/** makeCell(number) -> {node, show(photo, position, total), focus()}. photos come as documents of the API. */
export function createGrid({ grid, gridSpace }, makeCell) {
  const cells = new Map(); // number -> {cell, index}
  let photos = [];
  let columns = 1;
  let width = CELL_WIDTH;
  let waiting = false;

  function measure() {
    const space = grid.clientWidth;
    columns = Math.max(1, Math.floor((space + GAP) / (CELL_WIDTH + GAP)));
    width = (space - GAP * (columns - 1)) / columns;
    gridSpace.style.height = `${Math.max(0, Math.ceil(photos.length / columns) * (CELL_HEIGHT + GAP) - GAP)}px`;
  }

  function render() {
    waiting = false;
    const top = -grid.getBoundingClientRect().top;
    const rows = [top - BEYOND, top + innerHeight + BEYOND].map((y) => Math.floor(y / (CELL_HEIGHT + GAP)));
    const first = Math.max(0, rows[0]) * columns;
    const last = Math.min(photos.length, (rows[1] + 1) * columns);
    const shown = new Set(photos.slice(first, last).map(({ number }) => number));
    for (const [number, { cell }] of cells) {
      if (shown.has(number) || cell.node.contains(document.activeElement)) continue; // keeps the focus
      cell.node.remove();
      cells.delete(number);
    }
    for (let index = last - 1; index >= first; index--) place(index);
  }

  /** Show a photo at its place. Elements are in the order of the photos, for screen readers and the tab key. */
  function place(index) {
    const photo = photos[index];
    let entry = cells.get(photo.number);
    if (!entry) {
      entry = { cell: makeCell(photo.number) };
      cells.set(photo.number, entry);
      const following = photos.slice(index + 1).find(({ number }) => cells.has(number));
      grid.insertBefore(entry.cell.node, following ? cells.get(following.number).cell.node : null);
    }
    const style = entry.cell.node.style;
    const [row, column] = [Math.floor(index / columns), index % columns];
    style.width = `${width}px`;
    style.height = `${CELL_HEIGHT}px`;
    style.transform = `translate(${column * (width + GAP)}px, ${row * (CELL_HEIGHT + GAP)}px)`;
    entry.cell.show(photo, index + 1, photos.length);
  }

  function renderSoon() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(render);
  }

  addEventListener("scroll", renderSoon, { passive: true });
  new ResizeObserver(() => {
    measure();
    renderSoon();
  }).observe(grid);

  return {
    /** Show these photos, in this order. */
    show(newPhotos) {
      const numbers = newPhotos.map(({ number }) => number).filter((number) => cells.has(number));
      const kept = new Set(numbers);
      const nodes = [...grid.querySelectorAll("[data-number]")].map((node) => Number(node.dataset.number));
      const isReordered = nodes.filter((number) => kept.has(number)).some((number, index) => number !== numbers[index]);
      for (const [number, { cell }] of cells) {
        if (kept.has(number) && (!isReordered || cell.node.contains(document.activeElement))) continue;
        cell.node.remove();
        cells.delete(number);
      }
      photos = newPhotos;
      measure();
      renderSoon();
    },
    /** Show photos that changed, if they are visible. */
    update(changed) {
      const byNumber = new Map(changed.map((photo) => [photo.number, photo]));
      photos = photos.map((photo) => byNumber.get(photo.number) ?? photo);
      renderSoon();
    },
    /** Move the focus to the caption of a photo, or of one `steps` after it; false if there is none. */
    focus(number, steps = 0) {
      const index = photos.findIndex((photo) => photo.number === number) + steps;
      if (index < 0 || index >= photos.length) return false;
      const row = Math.floor(index / columns);
      const y = scrollY + grid.getBoundingClientRect().top + row * (CELL_HEIGHT + GAP);
      if (y < scrollY || y + CELL_HEIGHT > scrollY + innerHeight) scrollTo({ top: y - (innerHeight - CELL_HEIGHT) / 2 });
      render();
      cells.get(photos[index].number)?.cell.focus();
      return true;
    },
  };
}
