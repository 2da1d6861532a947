// The form: whom to connect as, where and how. A link such as
// /?name=Ale&server=http://localhost:5001/chathub&transport=LongPolling&encoding=MessagePack
// fills it in; a page that is loaded again remembers it.
import type { Settings } from "./connection";
import { find } from "./dom";
import { knownServers, parseServers } from "./servers";
import type { Field } from "./state";

const form = find<HTMLFormElement>("sign-in");
const fields = {
  name: find<HTMLInputElement>("name"),
  server: find<HTMLInputElement>("server"),
  transport: find<HTMLSelectElement>("transport"),
  encoding: find<HTMLSelectElement>("encoding"),
};
const names = Object.keys(fields) as Field[];

export async function setUpSettings(connect: () => void): Promise<void> {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    connect();
  });
  const link = new URLSearchParams(location.search);
  for (const name of names) {
    fill(name, link.get(name) ?? sessionStorage.getItem(name));
  }
  if (!fields.server.value) fields.server.value = (await knownServers()).join(", ");
}

// readSettings returns what the form says. It throws what is wrong with it.
export function readSettings(): Settings {
  for (const name of names) sessionStorage.setItem(name, fields[name].value);
  return {
    name: fields.name.value.trim(),
    servers: parseServers(fields.server.value),
    transport: fields.transport.value as Settings["transport"],
    encoding: fields.encoding.value as Settings["encoding"],
  };
}

export function showForm(shown: boolean): void {
  form.hidden = !shown;
}

// blame marks the field that is to be changed, and goes there.
export function blame(wrong: Field | undefined): void {
  for (const name of names) fields[name].setAttribute("aria-invalid", String(name === wrong));
  fields[wrong ?? "name"].focus();
}

function fill(name: Field, value: string | null): void {
  const field = fields[name];
  const before = field.value;
  if (value) field.value = value;
  if (value && field.value !== value) field.value = before; // a list has no such choice
}
