using System.Diagnostics;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Conformance;

/// <summary>Reports checks, each with one line: {"check":"name","ok":true,"got":...}.</summary>
static class Report
{
    static readonly TimeSpan Patience = TimeSpan.FromSeconds(10);
    static readonly JsonSerializerOptions Readable = new() { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping };

    /// <summary>Does something, and reports whether what comes of it is, as JSON, what is wanted.</summary>
    public static async Task Check(string name, object? want, Func<Task<object?>> act)
    {
        object? got;
        var watch = Stopwatch.StartNew();
        try
        {
            got = await act().WaitAsync(Patience);
        }
        catch (TimeoutException) when (watch.Elapsed >= Patience)
        {
            got = $"failed: nothing within {Patience}";
        }
        catch (Exception error)
        {
            got = $"failed: {error.GetType().Name}: {error.Message}";
        }
        var ok = JsonSerializer.Serialize(got) == JsonSerializer.Serialize(want);
        Console.WriteLine(JsonSerializer.Serialize(ok ? new { check = name, ok, got } : (object)new { check = name, ok, got, want }, Readable));
    }

    /// <summary>The text with which a task fails.</summary>
    public static async Task<string> Failure(Task task)
    {
        try
        {
            await task;
            return "no error";
        }
        catch (Exception error)
        {
            return error.Message;
        }
    }
}
