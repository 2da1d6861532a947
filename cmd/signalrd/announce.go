package main

import (
	"fmt"
	"io"
	"strings"

	"signalrd/internal/edge"
)

// announce prints what is served and how to try it.
func announce(out io.Writer, c *config, bound []edge.Bound, users *signIn, f *farm, watching *telemetry) {
	line := func(what, format string, args ...any) {
		fmt.Fprintf(out, "  %-14s %s\n", what, fmt.Sprintf(format, args...))
	}
	fmt.Fprintln(out, "signalrd serves")
	for _, b := range bound {
		line("hub", "%s", urlAt(b, c.Network.BasePath+c.Path))
		line("health", "%s", urlAt(b, c.Network.BasePath+"/healthz"))
	}
	if watching.listener != nil {
		line("metrics", "http://%s/metrics", watching.listener.Addr())
	}
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
		line("and listen", "go run ./cmd/signalrd listen %s --user Ale", urlAt(bound[0], c.Network.BasePath+c.Path))
	}
}

// urlAt is a path on a socket, as people write it.
func urlAt(at edge.Bound, path string) string {
	scheme := "http"
	if at.Secure {
		scheme = "https"
	}
	if at.Network() == "unix" {
		return fmt.Sprintf("%s://localhost%s at unix:%s", scheme, path, at)
	}
	return fmt.Sprintf("%s://%s%s", scheme, at, path)
}
