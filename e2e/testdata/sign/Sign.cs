// Signs what stands in a file of signatures as the worker of .NET does, one a line.
using System.Text.Json;
using Clients;

using var signatures = JsonDocument.Parse(File.ReadAllText(args[0]));
foreach (var v in signatures.RootElement.EnumerateArray())
{
    string? Text(string name) => v.GetProperty(name).GetString();
    var key = new SigningKey(Text("key")!, Text("secret")!);
    var signed = key.Sign(Text("channel")!, Text("user"), Text("message")!, Text("id")!, v.GetProperty("time").GetInt64());
    Console.WriteLine(JsonSerializer.Serialize(signed));
}
