// Package peers finds and starts the programs that tests talk to and that do
// not come with Go: Redis, Node, .NET, ASP.NET Core, Python, balancers, promtool, a browser. A test whose peer is
// missing is skipped and says how to get it; with SIGNALRD_REQUIRE_PEERS set to
// anything it fails instead, so that a complete run can be told from a partial one.
package peers

import (
	"cmp"
	"os"
	"os/exec"
	"testing"
)

// RequireVariable is the environment variable that makes missing peers fail.
const RequireVariable = "SIGNALRD_REQUIRE_PEERS"

// DotnetVariable is the environment variable that says where the dotnet command is if it
// is not in PATH.
const DotnetVariable = "SIGNALRD_DOTNET"

// PythonVariable is the environment variable that says where the Python is that has the
// redis package, if it is not the python3 in PATH.
const PythonVariable = "SIGNALRD_PYTHON"

// ReferenceVariable is the environment variable that says where the command is that
// serves the hubs of cmd/conformance with ASP.NET Core and takes the same flags.
// It is in no package, so that it can be missing for good: [NoReference] says so.
const ReferenceVariable = "SIGNALRD_REFERENCE"

// NoReference is the value of SIGNALRD_REFERENCE that skips the tests that need
// the command, even where missing peers fail.
const NoReference = "none"

// Node returns the path of Node.js.
func Node(t testing.TB) string {
	t.Helper()
	return find(t, "Node.js", "install Node 18 or later so that node is in PATH", "node")
}

// NPM returns the path of the package manager of Node.js.
func NPM(t testing.TB) string {
	t.Helper()
	return find(t, "npm", "install npm, which comes with Node or in a package of its own, so that it is in PATH", "npm")
}

// Dotnet returns the path of the dotnet command: what SIGNALRD_DOTNET says, else what
// is in PATH.
func Dotnet(t testing.TB) string {
	t.Helper()
	const get = "install the .NET 10 SDK, or set " + DotnetVariable + " to the path of its dotnet command"
	if path := os.Getenv(DotnetVariable); path != "" {
		return find(t, ".NET", get, path)
	}
	return find(t, ".NET", get, "dotnet")
}

// Python returns the path of a Python that has the redis package: what
// SIGNALRD_PYTHON says, else what is in PATH.
func Python(t testing.TB) string {
	t.Helper()
	const get = "install Python 3 and its redis package so that python3 has it, or set " + PythonVariable + " to the path of a Python that has"
	path := find(t, "Python", get, cmp.Or(os.Getenv(PythonVariable), "python3"))
	if err := exec.Command(path, "-c", "import redis").Run(); err != nil {
		missing(t, "Python's redis package", get)
	}
	return path
}

// RedisCLI returns the path of redis-cli.
func RedisCLI(t testing.TB) string {
	t.Helper()
	return find(t, "redis-cli", "install Redis 6 or later so that redis-cli is in PATH", "redis-cli")
}

// Nginx returns the path of nginx.
func Nginx(t testing.TB) string {
	t.Helper()
	return find(t, "nginx", "install nginx so that it is in PATH", "nginx")
}

// HAProxy returns the path of HAProxy.
func HAProxy(t testing.TB) string {
	t.Helper()
	return find(t, "HAProxy", "install haproxy 2.6 or later so that it is in PATH", "haproxy")
}

// Caddy returns the path of Caddy.
func Caddy(t testing.TB) string {
	t.Helper()
	return find(t, "Caddy", "install caddy 2.6 or later so that it is in PATH", "caddy")
}

// SystemdAnalyze returns the path of the command that checks units of systemd, which need
// not run.
func SystemdAnalyze(t testing.TB) string {
	t.Helper()
	return find(t, "systemd-analyze", "install systemd so that systemd-analyze is in PATH (on Linux)", "systemd-analyze")
}

// SystemdSocketActivate returns the path of the command that opens sockets and starts a
// server when somebody connects, as systemd does; that need not run.
func SystemdSocketActivate(t testing.TB) string {
	t.Helper()
	return find(t, "systemd-socket-activate", "install systemd so that systemd-socket-activate is in PATH (on Linux)", "systemd-socket-activate")
}

// Reference returns the path of the command that SIGNALRD_REFERENCE names. Its
// first start may take minutes: it may build what it runs.
func Reference(t testing.TB) string {
	t.Helper()
	path := os.Getenv(ReferenceVariable)
	if path == NoReference {
		t.Skipf("no ASP.NET Core server, as %s says", ReferenceVariable)
	}
	return find(t, "an ASP.NET Core server with the hubs of cmd/conformance",
		"set "+ReferenceVariable+" to the path of a command that takes the flags of cmd/conformance, or to "+NoReference+" to do without",
		path)
}

// Chromium returns the path of Chromium or Google Chrome.
func Chromium(t testing.TB) string {
	t.Helper()
	return find(t, "Chromium", "install chromium or google-chrome so that it is in PATH",
		"chromium", "chromium-browser", "google-chrome")
}

// Promtool returns the path of Prometheus's promtool.
func Promtool(t testing.TB) string {
	t.Helper()
	return find(t, "promtool", "install Prometheus so that promtool is in PATH", "promtool")
}

// find returns the path of the first of the commands that there is.
func find(t testing.TB, peer, get string, commands ...string) string {
	t.Helper()
	for _, command := range commands {
		if path, err := exec.LookPath(command); err == nil {
			return path
		}
	}
	missing(t, peer, get)
	return ""
}

// missing ends the test.
func missing(t testing.TB, peer, get string) {
	t.Helper()
	if os.Getenv(RequireVariable) != "" {
		t.Fatalf("%s is missing, and %s is set: %s", peer, RequireVariable, get)
	}
	t.Skipf("%s is missing: %s", peer, get)
}
