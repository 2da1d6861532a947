// Notifications: each pops up for a while and stays in a list. Screen readers
// read the list, which is a log; what pops up is for the eye alone.
import { find, make } from "./dom";
import { append, timeNow } from "./list";

const list = find("notifications");
const count = find("count");
const toasts = find("toasts");

const shownFor = 6000; // ms
const shownAtOnce = 3;
let total = 0;

export function setUpNotifications(): void {
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape") toasts.replaceChildren();
  });
}

export function showNotification(text: string): void {
  const entry = make("li", "");
  entry.append(make("span", text), timeNow());
  append(list, entry);
  count.textContent = String(++total);
  count.hidden = false;
  popUp(text);
}

function popUp(text: string): void {
  const toast = make("div", "", "toast");
  toast.append(make("span", text));
  toast.addEventListener("click", () => toast.remove());
  toasts.append(toast);
  if (toasts.children.length > shownAtOnce) toasts.firstElementChild?.remove();
  leaveLater(toast);
}

// leaveLater removes what has popped up, unless the pointer is on it.
function leaveLater(toast: HTMLElement): void {
  setTimeout(() => (toast.matches(":hover") ? leaveLater(toast) : toast.remove()), shownFor);
}
