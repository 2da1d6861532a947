// Loses its TCP connection again and again, with stateful reconnect, and looks
// whether anything else is lost, doubled or out of order:
//
//   node resume.mjs --modules CLIENTS_JS --server URL --proxy URL --cutter URL --rough URL --encoding json|messagepack
//
// The server at URL runs the reference hub. --proxy leads to it too, through
// connections that are cut when --cutter is asked to; so does --rough, which
// cuts them by itself, again and again for a while.
// Each check prints one line: {"check":"name","ok":true,"got":...}.
import { createRequire } from "node:module";
import path from "node:path";
import { isDeepStrictEqual, parseArgs } from "node:util";

const option = { type: "string" };
const { values: given } = parseArgs({
  options: { modules: option, server: option, proxy: option, cutter: option, rough: option, encoding: option },
});
const stock = createRequire(path.join(given.modules, "package.json"));
const { HubConnectionBuilder, HttpTransportType, JsonHubProtocol, LogLevel, Subject } = stock("@microsoft/signalr");
const { MessagePackHubProtocol } = stock("@microsoft/signalr-protocol-msgpack");

process.on("unhandledRejection", () => {}); // the check that fails reports it
const patience = 10_000; // ms for one check
const numbers = (count) => Array.from({ length: count }, (_, i) => i);

const direct = build(given.server); // who talks to those who are cut
await direct.start();
for (const how of ["ended", "reset", "unnoticed"]) {
  await check(`${how}: same connection`, "same", () => sameConnection(how));
  await check(`${how}: method under way`, "answer: after the cut", () => methodUnderWay(how));
  await check(`${how}: stream`, numbers(200), () => stream(how));
  await check(`${how}: upload`, numbers(200).join(), () => upload(how));
  await check(`${how}: messages`, numbers(300), () => messages(how));
  await check(`${how}: both ways while away`, { received: numbers(200), echoed: numbers(100) }, () => bothWaysWhileAway(how));
  await check(`${how}: group kept`, [0], () => groupKept(how));
}
await check("cut after an upload", numbers(50), () => cutAfter((hub) => {
  const up = new Subject();
  const sum = hub.invoke("UploadSum", up);
  for (const n of numbers(20)) up.next(n);
  up.complete();
  return sum;
}));
await check("cut after rejected items", numbers(20), rejectedItems);
await check("cut after a stream", numbers(50), () => cutAfter((hub) => collect(hub.stream("Counter", 20, 0))));
await roughly();
await direct.stop();
process.exit(0); // at once, though fetch keeps an idle connection

// ---- what is checked

async function sameConnection(how) {
  const { hub, same, stop } = await open();
  for (let i = 0; i < 3; i++) {
    await cut(how);
    await hub.invoke("Echo", "there again");
  }
  const result = await same();
  await stop();
  return result;
}

// The connection is cut while the server waits for an answer, which is given
// on the new one.
async function methodUnderWay(how) {
  const { hub, stop } = await open();
  hub.on("Ask", async () => {
    await cut(how);
    return "after the cut";
  });
  const result = await hub.invoke("AskCaller", "?");
  await stop();
  return result;
}

async function stream(how) {
  const { hub, stop } = await open();
  const items = await collect(hub.stream("Counter", 200, 1), (n) => { if (n === 50 || n === 120) cut(how); });
  await stop();
  return items;
}

async function upload(how) {
  const { hub, stop } = await open();
  const up = new Subject();
  const sum = hub.invoke("UploadConcat", "0", up);
  for (const n of numbers(200).slice(1)) {
    up.next(`,${n}`);
    if (n !== 50 && n !== 120) continue;
    await cut(how);
    await hub.invoke("Echo", "there again"); // it tries only once to resume, which a second cut must not hit
  }
  up.complete();
  const result = await sum;
  await stop();
  return result;
}

async function messages(how) {
  const { hub, received, stop } = await open((n) => { if (n === 100 || n === 200) cut(how); });
  for (const n of numbers(300)) await direct.invoke("SendConnection", hub.connectionId, String(n));
  await hub.invoke("Echo", "all has come");
  await stop();
  return received;
}

// What is said to a client that is away, and by it, arrives when it is back.
async function bothWaysWhileAway(how) {
  const { hub, received, stop } = await open();
  const say = async (from, to) => {
    for (let n = from; n < to; n++) await direct.invoke("SendConnection", hub.connectionId, String(n));
  };
  const echoed = [];
  const echo = (n) => hub.invoke("Echo", String(n)).then((text) => echoed.push(Number(text)));
  const early = numbers(50).map(echo);
  await say(0, 50);
  await cut(how, true);
  const late = numbers(100).slice(50).map(echo);
  await say(50, 200);
  await post("release");
  await Promise.all([...early, ...late]);
  await stop();
  return { received, echoed };
}

async function groupKept(how) {
  const { hub, received, stop } = await open();
  const group = `group ${Math.random()}`;
  await hub.invoke("Join", group);
  await cut(how);
  await direct.invoke("SendGroup", group, "0");
  await hub.invoke("Echo", "it has come");
  await stop();
  return received;
}

// What was done before a cut and is not acknowledged yet is sent again, and
// must be counted though it is of no use any more: else what follows is taken
// for known.
async function cutAfter(act) {
  const { hub, stop } = await open();
  await act(hub);
  await cut("reset");
  const echoed = [];
  for (const n of numbers(50)) echoed.push(Number(await hub.invoke("Echo", String(n))));
  await stop();
  return echoed;
}

// Items that cannot be read are counted by who sent them, so they must be by
// who got them: else acknowledgements are for less than has come, and the rest
// comes twice.
async function rejectedItems() {
  const { hub, received, stop } = await open();
  const up = new Subject();
  const failed = hub.invoke("UploadSum", up).catch(() => {});
  for (const n of numbers(20)) up.next(`not a number: ${n}`);
  up.complete();
  await failed;
  for (const n of numbers(20)) await hub.invoke("SendCaller", String(n));
  await hub.invoke("Slow", 1500); // meanwhile an acknowledgement comes, of which clients tell nobody
  await cut("reset");
  await hub.invoke("Echo", "there again");
  await stop();
  return received;
}

// Everything at once, while the proxy cuts in the middle of messages. The
// stream and the upload last until the rest is done.
async function roughly() {
  const { hub, received, same, stop } = await open(undefined, given.rough);
  const down = [], heard = [], echoed = [];
  let said = 0, done = false;
  const up = new Subject();
  const counting = hub.stream("Counter", 1_000_000, 2).subscribe({ next: (n) => down.push(n), error: () => {}, complete: () => {} });
  const shouted = new Promise((resolve, reject) => hub.stream("Shout", up).subscribe({
    next: (text) => {
      heard.push(text);
      done ? up.complete() : up.next(`item ${++said}`);
    },
    error: reject,
    complete: resolve,
  }));
  up.next("item 0");
  const echoing = (async () => {
    for (const n of numbers(400)) echoed.push(Number(await hub.invoke("Echo", String(n))));
  })();
  const saying = (async () => {
    for (const n of numbers(400)) await direct.invoke("SendConnection", hub.connectionId, String(n));
  })();
  await check("roughly: echoes", numbers(400), () => echoing.then(() => echoed));
  await check("roughly: messages", numbers(400), async () => {
    await saying;
    await hub.invoke("Echo", "all has come");
    return received;
  });
  done = true;
  await check("roughly: upload and stream", true, async () => {
    await shouted;
    return isDeepStrictEqual(heard, numbers(said + 1).map((n) => `ITEM ${n}`)) || heard;
  });
  await check("roughly: stream", true, async () => {
    counting.dispose();
    return down.length > 0 && isDeepStrictEqual(down, numbers(down.length)) || down;
  });
  await check("roughly: same connection", "same", same);
  await stop();
}

// ---- how

function build(url) {
  return new HubConnectionBuilder()
    .withUrl(`${url}/reference`, { transport: HttpTransportType.WebSockets })
    .withHubProtocol(given.encoding === "json" ? new JsonHubProtocol() : new MessagePackHubProtocol())
    .withStatefulReconnect()
    .configureLogging(LogLevel.None) // cuts are no surprise
    .build();
}

// open connects through a proxy. received are the numbers that came as
// Messages, each of which is told to heed; same says "same" if the connection
// still is the one that it was.
async function open(heed = () => {}, proxy = given.proxy) {
  const hub = build(proxy);
  const received = [], ends = [];
  hub.onclose((error) => ends.push(`closed: ${error?.message}`));
  hub.on("Message", (text) => {
    received.push(Number(text));
    heed(Number(text));
  });
  await hub.start();
  const id = hub.connectionId;
  return {
    hub, received,
    same: async () => {
      const now = await hub.invoke("MyConnectionId");
      return ends.length === 0 && now === id && hub.connectionId === id ? "same" : { id, now, ends };
    },
    stop: () => hub.stop(),
  };
}

// cut returns when every connection through the proxy is cut. With hold, new
// ones wait until the release.
function cut(how, hold = false) {
  return post(`cut?how=${how}&hold=${hold}`);
}

async function post(command) {
  const answer = await fetch(`${given.cutter}/${command}`, { method: "POST" });
  if (!answer.ok) throw new Error(await answer.text());
}

function collect(stream, heed = () => {}) {
  return new Promise((resolve, reject) => {
    const items = [];
    stream.subscribe({
      next: (item) => {
        items.push(item);
        heed(item);
      },
      error: reject,
      complete: () => resolve(items),
    });
  });
}

async function check(name, want, act) {
  let timer, got;
  try {
    const late = new Promise((_, reject) => { timer = setTimeout(() => reject(new Error(`nothing within ${patience} ms`)), patience); });
    got = await Promise.race([act(), late]);
  } catch (error) {
    got = `failed: ${error.message}`;
  }
  clearTimeout(timer);
  const ok = isDeepStrictEqual(got, want);
  console.log(JSON.stringify({ check: name, ok, got: got ?? null, ...(!ok && { want }) }));
}
