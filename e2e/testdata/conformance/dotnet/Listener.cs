using Microsoft.AspNetCore.SignalR.Client;

namespace Conformance;

/// <summary>A client with a name, which collects the Messages it gets.</summary>
sealed class Listener
{
    readonly List<string> texts = [];
    readonly Dictionary<string, TaskCompletionSource> waiting = [];
    int losses;

    public Listener(string name, HubConnection hub)
    {
        (Name, Hub) = (name, hub);
        hub.Reconnecting += _ => { Interlocked.Increment(ref losses); return Task.CompletedTask; };
        hub.On<string>("Message", text =>
        {
            lock (texts)
            {
                texts.Add(text);
                if (waiting.TryGetValue(text, out var arrival)) arrival.TrySetResult();
            }
        });
    }

    public string Name { get; }
    public HubConnection Hub { get; }
    public int Losses => losses;

    public int Count(string text)
    {
        lock (texts) return texts.Count(t => t == text);
    }

    public Task Arrival(string text)
    {
        lock (texts)
        {
            if (texts.Contains(text)) return Task.CompletedTask;
            return (waiting[text] = new(TaskCreationOptions.RunContinuationsAsynchronously)).Task;
        }
    }
}
