package main

import (
	"fmt"
	"io"
	"net"
	"strings"
)

// announce prints what is served and how to try it.
func announce(out io.Writer, c *config, addr net.Addr, users *signIn, f *farm) {
	line := func(what, format string, args ...any) {
		fmt.Fprintf(out, "  %-14s %s\n", what, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(out, "signalrd serves")
	line("hub", "http://%s%s", addr, c.Path)
	line("health", "http://%s/healthz", addr)
	switch {
	case f.embedded != nil:
		line("Redis", "%s (embedded: none answered there)", f.address)
	case f.address != "":
		line("Redis", "%s", f.address)
	default:
		line("Redis", "none: this server stands alone, and nothing can be published to it")
	}
	line("pages from", "%s", strings.Join(c.Origins, ", "))
	line("users", "%s", users.about)
	if f.subscriber == nil {
		return
	}
	switch c.Signing.mode() {
	case "required":
		line("publish", "on %s, signed with a key of %s (docs/notifications.md)", c.NotifyChannel, f.keys)
		return
	case "optional":
		line("signatures", "looked at if there are any, with the keys of %s", f.keys)
	}
	line("publish", `%s publish %s '{"user":"Ale","message":"Your report is ready!"}'`, c.redisCLI(f.address), c.NotifyChannel)
	if !c.Dev {
		return
	}
	at := ""
	if c.Redis != devRedis {
		at = " --redis=URL"
	}
	line("or", `go run ./cmd/signalrd publish%s --user Ale "Your report is ready!"`, at)
	if c.SignIn.Auth == "name" {
		line("and listen", "go run ./cmd/signalrd listen http://%s%s --user Ale", addr, c.Path)
	}
}
