using Conformance;

// dotnet conformance.dll conformance|resume|farm --NAME VALUE ...
var given = new Dictionary<string, string>();
for (var i = 1; i + 1 < args.Length; i += 2) given[args[i]] = args[i + 1];
switch (args.FirstOrDefault())
{
    case "conformance":
        await new Client(given["--server"], given["--proxy"], given["--cutter"], given["--transport"], given["--encoding"]).Run();
        return 0;
    case "resume":
        await new Resume(given["--server"], given["--proxy"], given["--cutter"], given["--rough"], given["--encoding"]).Run();
        return 0;
    case "farm":
        await new Farm().Run();
        return 0;
    default:
        Console.Error.WriteLine("""
            usage: conformance --server URL --proxy URL --cutter URL --transport WebSockets|ServerSentEvents|LongPolling --encoding json|messagepack
                   resume --server URL --proxy URL --cutter URL --rough URL --encoding json|messagepack
                   farm
            """);
        return 2;
}
