using Clients;

return args switch
{
    ["listen", var url] => await Listener.Run(url, null),
    ["listen", var url, var name] => await Listener.Run(url, name),
    ["publish", .. var rest] when Worker.TryParse(rest, out var worker) => await worker.Run(),
    _ => Usage(),
};

static int Usage()
{
    Console.Error.WriteLine("""
        usage: dotnet run --project clients/dotnet -- listen URL [NAME]
               dotnet run --project clients/dotnet -- publish [--user NAME] [--count N] MESSAGE
        """);
    return 2;
}
