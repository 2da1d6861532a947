// Publishes notifications, which every signalrd hands to its clients:
//
//   node worker.mjs [--user NAME] [--count N] MESSAGE
//
// Without --user everybody gets them. --count publishes N, numbered from 1, as
// fast as Redis takes them. REDIS_URL says where Redis is, by default
// redis://127.0.0.1:6379.
import { parseArgs } from "node:util";
import { createClient } from "redis";

const { user, count, message } = readArguments();

const redis = createClient({
  url: process.env.REDIS_URL || "redis://127.0.0.1:6379",
  socket: { reconnectStrategy: false },
});
redis.on("error", () => {}); // connect and publish report it
try {
  await redis.connect();
  await publish();
  await redis.close();
} catch (error) {
  console.error(`not published: ${error.message || error.code}`);
  process.exit(1);
}

async function publish() {
  const batch = 1000; // what is not awaited one by one travels together
  let servers = 0;
  for (let first = 1; first <= count; first += batch) {
    const sent = [];
    for (let i = first; i < first + batch && i <= count; i++) {
      const text = count > 1 ? `${message} ${i}` : message;
      sent.push(redis.publish("notify.users", JSON.stringify({ user, message: text })));
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
