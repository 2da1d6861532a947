package chaos

import "fmt"

// kind is what is run as a server.
type kind struct {
	program   string
	hub       string // path
	health    string // likewise
	flags     func(address, redis string) []string
	look      func(s *server) (inside, error) // asks what it holds
	addresses []address
	joins     bool // there are groups

	environment func(server int) []string // nil: that of the test
}

// conformance serves a hub with a method for each feature. Clients that ping are missed
// after seconds, so that what is cut off shows in time.
var conformance = kind{
	program: "conformance",
	hub:     "/reference",
	health:  "/",
	flags: func(address, redis string) []string {
		return []string{"--urls", "http://" + address, "--redis", redis, "--inside", "--detailed", "--keepalive", "1", "--clienttimeout", "8", "--handshake", "5",
			"--spoolbytes", fmt.Sprint(spool)}
	},
	addresses: addresses,
	joins:     true,
	look:      (*server).lookInside,
}

// addresses are those of the conformance server's hub.
var addresses = []address{
	{"all", "SendAll", func(*traffic, *receiver) []any { return nil }},
	{"group", "SendGroup", func(tr *traffic, _ *receiver) []any { return []any{tr.group} }},
	{"user", "SendUser", func(tr *traffic, _ *receiver) []any { return []any{tr.user} }},
	{"connection", "SendConnection", func(_ *traffic, target *receiver) []any { return []any{target.conn.ID} }},
}

// signalrd is the server that people run.
var signalrd = kind{
	program: "signalrd",
	hub:     "/chathub",
	health:  "/healthz",
	flags: func(address, redis string) []string {
		return []string{"--dev", "--listen", address, "--redis", "redis://" + redis, "--keep-alive", "1s", "--client-timeout", "8s", "--handshake-timeout", "5s",
			"--spool-bytes", fmt.Sprint(spool)}
	},
	look:      (*server).lookAtMetrics,
	addresses: []address{{"all", "SendMessage", func(*traffic, *receiver) []any { return nil }}},
}
