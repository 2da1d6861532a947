// Signs notifications, for servers that take no others (docs/notifications.md).
import { createHmac, randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";

/** The first key of a file, on each line of which there is one: an id and a secret. */
export function readKey(file) {
  for (const line of readFileSync(file, "utf8").split("\n")) {
    const [id, secret, more] = line.trim().split(/\s+/);
    if (secret && !more && !id.startsWith("#")) return { id, secret };
  }
  throw new Error(`${file}: there is no key in it`);
}

/** A notification with all that belongs to a signature. Each has an id of its own. */
export function sign(key, channel, { user, message }, id = randomUUID(), time = Math.floor(Date.now() / 1000)) {
  const netstring = (text) => `${Buffer.byteLength(text)}:${text},`;
  const text = ["signalrd notification 1", channel, key.id, String(time), id, user ?? "", message];
  const signature = createHmac("sha256", key.secret).update(text.map(netstring).join("")).digest("hex");
  return { user, message, id, time, key: key.id, signature };
}
