// A list of what has come, the newest last. The log around it stays at its end
// unless its reader has scrolled up.
import { make } from "./dom";

const kept = 500; // entries; older ones go
const nearEnd = 40; // px

export function append(list: HTMLElement, entry: HTMLElement): void {
  const log = list.parentElement!;
  const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < nearEnd;
  list.append(entry);
  if (list.children.length > kept) list.firstElementChild?.remove();
  if (atEnd) log.scrollTop = log.scrollHeight;
}

// timeNow is an element that says when it was made.
export function timeNow(): HTMLTimeElement {
  const now = new Date();
  const time = make("time", now.toLocaleTimeString()) as HTMLTimeElement;
  time.dateTime = now.toISOString();
  return time;
}
