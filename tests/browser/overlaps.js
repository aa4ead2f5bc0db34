// A function: what overlaps on this page, or is cut off, in words.
() => {
  const selector = 'button, select, input, canvas, .noUi-target';
  const shown = [...document.querySelectorAll(selector)].filter(element => element.checkVisibility());
  const boxes = shown.map(element => ({element, box: element.getBoundingClientRect()}));

  function overlap(a, b) {
    if (a.element.contains(b.element) || b.element.contains(a.element)) return false;
    const width = Math.min(a.box.right, b.box.right) - Math.max(a.box.left, b.box.left);
    const height = Math.min(a.box.bottom, b.box.bottom) - Math.max(a.box.top, b.box.top);
    return width > 1 && height > 1;
  }

  const found = [];
  boxes.forEach((a, i) => {
    for (const b of boxes.slice(i + 1)) {
      if (overlap(a, b)) found.push(`${a.element.outerHTML.slice(0, 80)} and ${b.element.outerHTML.slice(0, 80)}`);
    }
  });
  if (document.documentElement.scrollWidth > innerWidth) found.push('the page is wider than the window');
  return found;
}
