// Signs what stands in a file of signatures as the worker of JavaScript does, one a line.
import { readFileSync } from "node:fs";
import { pathToFileURL } from "node:url";

const [signatures, signing] = process.argv.slice(2);
const { sign } = await import(pathToFileURL(signing));
for (const { key, secret, channel, user, message, id, time } of JSON.parse(readFileSync(signatures, "utf8"))) {
  console.log(JSON.stringify(sign({ id: key, secret }, channel, { user, message }, id, time)));
}
