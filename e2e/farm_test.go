package e2e

import (
	"fmt"
	"os/exec"
	"slices"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/internal/peers"
)

// farm is two farms that share one Redis and nothing else, and connections to
// each of their servers.
type farm struct {
	store     *peers.RedisServer
	redis     *redis.Client
	servers   []*farmServer
	worlds    []*world
	reference *world // of the larger farm
	drivers   map[string]*driver
	opened    int
}

const (
	referenceHub, chatHub = "Reference.ReferenceHub", "Reference.ChatHub"
	otherPrefix           = "other."
)

// Two signalrd and an ASP.NET Core server are one farm; a signalrd and an ASP.NET
// Core server with another prefix are a second one on the same Redis. Stock
// clients in three languages and both encodings are spread over all of them:
// whatever is sent reaches everybody it should, once, in order, and nobody else.
func TestFarm(t *testing.T) {
	f := startFarm(t)
	for _, step := range []struct {
		name string
		run  func(*testing.T)
	}{
		{"joins from each server to each", f.joins},
		{"every address from everybody at once", f.addresses},
		{"results of clients", f.results},
		{"clients that leave without a result", f.unanswered},
		{"notifications", f.notifications},
		{"leaves", f.leaves},
		{"a server ends", f.termination},
	} {
		if !t.Run(step.name, step.run) {
			t.Fatal("what follows would mean nothing")
		}
	}
}

func startFarm(t *testing.T) *farm {
	t.Helper()
	reference := peers.Reference(t)
	f := &farm{store: peers.Redis(t), drivers: map[string]*driver{"js": startDriver(t, javascriptPeer), "dotnet": startDriver(t, dotnetPeer)}}
	f.redis = publisher(t, f.store)
	// In a farm that ASP.NET Core is part of, one server takes the notifications
	// for all, or those with ASP.NET Core are without.
	f.startReference(t, reference, farmServer{name: "net", notify: true})
	f.startSignalrd(t, farmServer{name: "go1"})
	f.startSignalrd(t, farmServer{name: "go2"})
	f.startReference(t, reference, farmServer{name: "net.other", prefix: otherPrefix})
	f.startSignalrd(t, farmServer{name: "go.other", prefix: otherPrefix, notify: true})
	for _, prefix := range []string{"", otherPrefix} {
		servers := slices.DeleteFunc(slices.Clone(f.servers), func(s *farmServer) bool { return s.prefix != prefix })
		f.worlds = append(f.worlds,
			&world{prefix: prefix, hub: referenceHub, path: "/reference", servers: servers},
			&world{prefix: prefix, hub: chatHub, path: "/chathub", servers: servers})
	}
	f.reference = f.worlds[0]
	f.connect(t)
	return f
}

func (f *farm) flags(s farmServer) []string {
	flags := []string{"--redis", f.store.Addr(), "--detailed", "true"}
	if s.notify {
		flags = append(flags, "--notify", "true")
	}
	if s.prefix != "" {
		flags = append(flags, "--prefix", s.prefix)
	}
	return flags
}

func (f *farm) startSignalrd(t *testing.T, s farmServer) {
	t.Helper()
	s.url, s.process = runConformance(t, f.flags(s)...)
	f.servers = append(f.servers, &s)
}

// firstStart is for a reference server that builds itself first.
const firstStart = 5 * time.Minute

func (f *farm) startReference(t *testing.T, program string, s farmServer) {
	t.Helper()
	s.aspnet = true
	s.url, s.process = serve(t, s.name, firstStart, func(url string) *exec.Cmd {
		return exec.Command(program, append([]string{"--urls", url}, f.flags(s)...)...)
	})
	f.servers = append(f.servers, &s)
}

// connect opens connections of all clients in both encodings to each server of
// the larger farm, and fewer to the other one. Some users are on all servers,
// some on one.
func (f *farm) connect(t *testing.T) {
	t.Helper()
	users := []string{"Ale", "Bea", "Cem"}
	var opening []func(*testing.T) *member
	open := func(w *world, s *farmServer, client, encoding, user string) {
		opening = append(opening, f.open(t, w, s, client, encoding, user))
	}
	for _, w := range f.worlds {
		for i, s := range w.servers {
			for j, client := range []string{"js", "dotnet", "go"} {
				user, own := users[(i+j)%len(users)], "at "+s.name
				switch {
				case w == f.reference:
					open(w, s, client, "json", user)
					open(w, s, client, "messagepack", own)
				case (i+j)%2 == 0:
					open(w, s, client, "json", user)
				default:
					open(w, s, client, "messagepack", user)
				}
			}
		}
	}
	for _, opened := range opening {
		opened(t)
	}
	f.awaitChannels(t)
}

// open connects a member to a server.
func (f *farm) open(t *testing.T, w *world, s *farmServer, client, encoding, user string) func(t *testing.T) *member {
	t.Helper()
	f.opened++
	m := &member{
		name:  fmt.Sprintf("%s %s on %s%s %d", client, encoding, s.name, w.path, f.opened),
		world: w, server: s, client: client, user: user, groups: make(map[string]bool),
	}
	var opened func(*testing.T) (stockConnection, string)
	if client == "go" {
		opened = openGoConnection(t, s.url+w.path, encoding, user)
	} else {
		opened = f.drivers[client].open(m.name, s.url+w.path, encoding, user)
	}
	return func(t *testing.T) *member {
		t.Helper()
		m.stockConnection, m.id = opened(t)
		w.members = append(w.members, m)
		return m
	}
}

// members is everybody.
func (f *farm) members() (all []*member) {
	for _, w := range f.worlds {
		all = append(all, w.members...)
	}
	return all
}
