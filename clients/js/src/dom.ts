// What every view needs of the document.

// find returns the element with an id, which index.html has.
export function find<E extends HTMLElement>(id: string): E {
  const element = document.getElementById(id);
  if (!element) throw new Error(`index.html has no element with the id ${id}`);
  return element as E;
}

// make makes an element with text in it, which is never taken for HTML.
export function make(name: string, text: string, className = ""): HTMLElement {
  const element = document.createElement(name);
  element.textContent = text;
  if (className) element.className = className;
  return element;
}

// setText changes a text if it is another one, so that screen readers do not
// read again what they have read.
export function setText(element: HTMLElement, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
