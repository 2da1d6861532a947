// Publishes notifications, which every signalrd hands to its clients:
//
//   node worker.mjs [--user NAME] [--count N] MESSAGE
//
// Without --user everybody gets them. --count publishes N, numbered from 1, as
// fast as Redis takes them. REDIS_URL says where Redis is, by default
// redis://127.0.0.1:6379. NOTIFY_KEYS_FILE names the file with the key that they
// are signed with; without it they are not.
import { parseArgs } from "node:util";
import { createClient } from "redis";
import { readKey, sign } from "./signing.mjs";

const channel = "notify.users";
const { user, count, message } = readArguments();

const redis = createClient({
  url: process.env.REDIS_URL || "redis://127.0.0.1:6379",
  socket: { reconnectStrategy: false },
});
redis.on("error", () => {}); // connect and publish report it
try {
  const file = process.env.NOTIFY_KEYS_FILE;
  const key = file ? readKey(file) : undefined;
  await redis.connect();
  await publish(key);
  await redis.close();
} catch (error) {
  console.error(`not published: ${error.message || error.code}`);
  process.exit(1);
}

async function publish(key) {
  const batch = 1000; // what is not awaited one by one travels together
  let servers = 0;
  for (let first = 1; first <= count; first += batch) {
    const sent = [];
    for (let i = first; i < first + batch && i <= count; i++) {
      const notification = { user, message: count > 1 ? `${message} ${i}` : message };
      sent.push(redis.publish(channel, JSON.stringify(key ? sign(key, channel, notification) : notification)));
    }
    servers = Math.max(servers, ...(await Promise.all(sent)));
  }
  console.log(`published ${count}, heard by ${servers} server${servers === 1 ? "" : "s"}`);
}

function readArguments() {
  try {
    const { values, positionals } = parseArgs({
      options: { user: { type: "string" }, count: { type: "string", default: "1" } },
      allowPositionals: true,
    });
    const count = Number(values.count);
    if (positionals.length !== 1) throw new Error("one MESSAGE is wanted");
    if (!Number.isInteger(count) || count < 1) throw new Error("N is a whole number from 1");
    return { user: values.user, count, message: positionals[0] };
  } catch (error) {
    console.error(`${error.message}\nusage: node worker.mjs [--user NAME] [--count N] MESSAGE`);
    process.exit(2);
  }
}
