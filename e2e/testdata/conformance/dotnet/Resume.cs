using System.Collections.Concurrent;
using System.Threading.Channels;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;
using static Conformance.Report;

namespace Conformance;

/// <summary>
/// Loses its TCP connection again and again, with stateful reconnect, and looks whether
/// anything else is lost, doubled or out of order. The server runs the reference hub. The
/// proxy leads to it too, through connections that are cut when the cutter is asked to; so
/// does the rough one, which cuts them by itself, again and again for a while.
/// </summary>
sealed class Resume(string server, string proxy, string cutter, string rough, string encoding)
{
    readonly HttpClient http = new();
    HubConnection direct = null!; // who talks to those who are cut

    public async Task Run()
    {
        direct = Build(server);
        await direct.StartAsync();
        foreach (var how in new[] { "ended", "reset", "unnoticed" })
        {
            await Check($"{how}: same connection", "same", async () => await SameConnection(how));
            await Check($"{how}: method under way", "answer: after the cut", async () => await MethodUnderWay(how));
            await Check($"{how}: stream", Numbers(200), async () => await Stream(how));
            await Check($"{how}: upload", string.Join(",", Numbers(200)), async () => await Upload(how));
            await Check($"{how}: messages", Numbers(300), async () => await Messages(how));
            await Check($"{how}: both ways while away", new { Received = Numbers(200), Echoed = Numbers(100) }, async () => await BothWaysWhileAway(how));
            await Check($"{how}: group kept", Numbers(1), async () => await GroupKept(how));
        }
        await Check("cut after an upload", Numbers(50), async () => await CutAfterAnUpload());
        await Check("cut after rejected items", Numbers(20), async () => await RejectedItems());
        await Roughly();
        await direct.DisposeAsync();
    }

    // ---- what is checked

    async Task<object> SameConnection(string how)
    {
        await using var away = await Open();
        for (var i = 0; i < 3; i++)
        {
            await Cut(how);
            await away.Hub.InvokeAsync<string>("Echo", "there again");
        }
        return await away.Same();
    }

    // The connection is cut while the server waits for an answer, which is given
    // on the new one.
    async Task<string> MethodUnderWay(string how)
    {
        await using var away = await Open();
        away.Hub.On("Ask", async (string _) =>
        {
            await Cut(how);
            return "after the cut";
        });
        return await away.Hub.InvokeAsync<string>("AskCaller", "?");
    }

    async Task<List<int>> Stream(string how)
    {
        await using var away = await Open();
        var items = new List<int>();
        await foreach (var n in away.Hub.StreamAsync<int>("Counter", 200, 1))
        {
            items.Add(n);
            if (n is 50 or 120) await Cut(how);
        }
        return items;
    }

    async Task<string> Upload(string how)
    {
        await using var away = await Open();
        var items = Channel.CreateUnbounded<string>();
        var sum = away.Hub.InvokeAsync<string>("UploadConcat", "0", items.Reader);
        foreach (var n in Numbers(200).Skip(1))
        {
            items.Writer.TryWrite($",{n}");
            if (n is not (50 or 120)) continue;
            await Cut(how);
            await away.Hub.InvokeAsync<string>("Echo", "there again"); // it tries only once to resume, which a second cut must not hit
        }
        items.Writer.Complete();
        return await sum;
    }

    async Task<List<int>> Messages(string how)
    {
        await using var away = await Open(heed: n => n is 100 or 200 ? Cut(how) : Task.CompletedTask);
        foreach (var n in Numbers(300)) await direct.InvokeAsync("SendConnection", away.Hub.ConnectionId, n.ToString());
        return await away.Received(300);
    }

    // What is said to a client that is away, and by it, arrives when it is back.
    async Task<object> BothWaysWhileAway(string how)
    {
        await using var away = await Open();
        async Task Say(int from, int to)
        {
            for (var n = from; n < to; n++) await direct.InvokeAsync("SendConnection", away.Hub.ConnectionId, n.ToString());
        }
        Task<string> Echo(int n) => away.Hub.InvokeAsync<string>("Echo", n.ToString());
        var early = Numbers(50).Select(Echo).ToList();
        await Say(0, 50);
        await Cut(how, hold: true);
        var late = Numbers(100).Skip(50).Select(Echo).ToList();
        await Say(50, 200);
        await Post("release");
        var echoed = (await Task.WhenAll(early.Concat(late))).Select(int.Parse);
        return new { Received = await away.Received(200), Echoed = echoed };
    }

    async Task<List<int>> GroupKept(string how)
    {
        await using var away = await Open();
        var group = $"group {Guid.NewGuid()}";
        await away.Hub.InvokeAsync("Join", group);
        await Cut(how);
        await direct.InvokeAsync("SendGroup", group, "0");
        return await away.Received(1);
    }

    // What was done before a cut and is not acknowledged yet is sent again, and must be
    // counted though it is of no use any more: else what follows is taken for known.
    async Task<List<int>> CutAfterAnUpload()
    {
        await using var away = await Open();
        var items = Channel.CreateUnbounded<int>();
        foreach (var n in Numbers(20)) items.Writer.TryWrite(n);
        items.Writer.Complete();
        await away.Hub.InvokeAsync<int>("UploadSum", items.Reader);
        await Cut("reset");
        var echoed = new List<int>();
        foreach (var n in Numbers(50)) echoed.Add(int.Parse(await away.Hub.InvokeAsync<string>("Echo", n.ToString())));
        return echoed;
    }

    // Items that cannot be read are counted by who sent them, so they must be by who got
    // them: else acknowledgements are for less than has come, and the rest comes twice.
    async Task<List<int>> RejectedItems()
    {
        await using var away = await Open();
        var items = Channel.CreateUnbounded<string>();
        foreach (var n in Numbers(20)) items.Writer.TryWrite($"not a number: {n}");
        items.Writer.Complete();
        await Failure(away.Hub.InvokeAsync<int>("UploadSum", items.Reader));
        foreach (var n in Numbers(20)) await away.Hub.InvokeAsync("SendCaller", n.ToString());
        await away.Hub.InvokeAsync<string>("Slow", 1500); // meanwhile an acknowledgement comes, of which clients tell nobody
        await Cut("reset");
        await away.Hub.InvokeAsync<string>("Echo", "there again");
        return await away.Received(20);
    }

    // Everything at once, while the proxy cuts in the middle of messages. The stream and
    // the upload last until the rest is done.
    async Task Roughly()
    {
        await using var away = await Open(rough);
        using var done = new CancellationTokenSource();
        var counting = Task.Run(async () =>
        {
            var counted = new List<int>();
            await foreach (var n in away.Hub.StreamAsync<int>("Counter", 1_000_000, 2))
            {
                counted.Add(n);
                if (done.IsCancellationRequested) break; // which cancels it at the server
            }
            return counted;
        });
        var up = Channel.CreateUnbounded<string>();
        up.Writer.TryWrite("item 0");
        var shouting = Task.Run(async () =>
        {
            var heard = new List<string>();
            await foreach (var text in away.Hub.StreamAsync<string>("Shout", up.Reader))
            {
                heard.Add(text);
                if (done.IsCancellationRequested) up.Writer.TryComplete();
                else up.Writer.TryWrite($"item {heard.Count}");
            }
            return heard;
        });
        var echoing = Task.Run(async () =>
        {
            var echoed = new List<int>();
            foreach (var n in Numbers(400)) echoed.Add(int.Parse(await away.Hub.InvokeAsync<string>("Echo", n.ToString())));
            return echoed;
        });
        var saying = Task.Run(async () =>
        {
            foreach (var n in Numbers(400)) await direct.InvokeAsync("SendConnection", away.Hub.ConnectionId, n.ToString());
        });
        await Check("roughly: echoes", Numbers(400), async () => await echoing);
        await Check("roughly: messages", Numbers(400), async () =>
        {
            await saying;
            return await away.Received(400);
        });
        await done.CancelAsync();
        await Check("roughly: upload and stream", true, async () =>
        {
            var heard = await shouting;
            return heard.SequenceEqual(Numbers(heard.Count).Select(n => $"ITEM {n}")) ? true : heard;
        });
        await Check("roughly: stream", true, async () =>
        {
            var counted = await counting;
            return counted.SequenceEqual(Numbers(counted.Count)) ? true : counted;
        });
        await Check("roughly: same connection", "same", async () => await away.Same());
    }

    // ---- how

    static IEnumerable<int> Numbers(int count) => Enumerable.Range(0, count);

    HubConnection Build(string url)
    {
        var builder = new HubConnectionBuilder().WithUrl($"{url}/reference", HttpTransportType.WebSockets).WithStatefulReconnect();
        if (encoding == "messagepack") builder.AddMessagePackProtocol();
        return builder.Build();
    }

    async Task<Away> Open(string? through = null, Func<int, Task>? heed = null)
    {
        var hub = Build(through ?? proxy);
        var away = new Away(hub, heed ?? (_ => Task.CompletedTask));
        await hub.StartAsync();
        away.Id = hub.ConnectionId;
        return away;
    }

    // Cut returns when every connection through the proxy is cut. With hold, new ones wait
    // until the release.
    Task Cut(string how, bool hold = false) => Post($"cut?how={how}&hold={hold.ToString().ToLowerInvariant()}");

    async Task Post(string command)
    {
        using var answer = await http.PostAsync($"{cutter}/{command}", null);
        if (!answer.IsSuccessStatusCode) throw new InvalidOperationException(await answer.Content.ReadAsStringAsync());
    }

    /// <summary>A client that comes and goes, and the numbers that it got as Messages.</summary>
    sealed class Away : IAsyncDisposable
    {
        readonly List<int> received = [];
        readonly ConcurrentQueue<string> ends = [];
        TaskCompletionSource changed = new();

        public Away(HubConnection hub, Func<int, Task> heed)
        {
            Hub = hub;
            hub.Closed += error => { ends.Enqueue($"closed: {error?.Message}"); return Task.CompletedTask; };
            hub.On<string>("Message", async text =>
            {
                lock (received)
                {
                    received.Add(int.Parse(text));
                    changed.TrySetResult();
                }
                await heed(int.Parse(text));
            });
        }

        public HubConnection Hub { get; }
        public string? Id { get; set; }

        /// <summary>All that came, once it is so many, and nothing can follow that is not too much.</summary>
        public async Task<List<int>> Received(int count)
        {
            while (true)
            {
                Task more;
                lock (received)
                {
                    if (received.Count >= count) break;
                    changed = new(TaskCreationOptions.RunContinuationsAsynchronously);
                    more = changed.Task;
                }
                await more;
            }
            await Hub.InvokeAsync<string>("Echo", "behind what was sent");
            lock (received) return [.. received];
        }

        /// <summary>"same" if the connection still is the one that it was.</summary>
        public async Task<object> Same()
        {
            var now = await Hub.InvokeAsync<string>("MyConnectionId");
            return ends.IsEmpty && now == Id && Hub.ConnectionId == Id ? "same" : new { Id, now, ends };
        }

        public ValueTask DisposeAsync() => Hub.DisposeAsync();
    }
}
