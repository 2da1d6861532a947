// How long a round trip takes: to the hub's method Echo and back, again and
// again.

const pause = 2000; // ms
const remembered = 20; // round trips

// measure reports the latest round trip and the median of the last ones, in
// milliseconds, until the function that it returns is called. It ends where the
// hub does not answer.
export function measure(echo: (text: string) => Promise<string>, report: (latest: number, median: number) => void): () => void {
  const times: number[] = [];
  let stopped = false;
  let timer = 0;
  const once = async () => {
    const begun = performance.now();
    try {
      await echo("");
    } catch {
      return;
    }
    if (stopped) return;
    times.push(performance.now() - begun);
    if (times.length > remembered) times.shift();
    report(times.at(-1)!, medianOf(times));
    timer = window.setTimeout(once, pause);
  };
  void once();
  return () => {
    stopped = true;
    clearTimeout(timer);
  };
}

function medianOf(times: number[]): number {
  return times.toSorted((a, b) => a - b)[times.length >> 1]!;
}
