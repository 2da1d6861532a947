package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

const notifyChannel = "notify.users"

// What signalrd servers tell one another goes over these.
const farmChannel, serverChannel = "signalrd:farm", "signalrd:server:"

// channels is what should be subscribed to on Redis, and by how many servers
// (protocol §11.1, §11.4). Channels of a server's own count as one.
func (f *farm) channels() map[string]int64 {
	count := make(map[string]int64)
	for _, s := range f.servers {
		if s.notify && !s.gone {
			count[notifyChannel]++
		}
		if !s.aspnet && !s.gone {
			count[s.prefix+farmChannel]++
			count[s.prefix+serverChannel]++
		}
	}
	for _, w := range f.worlds {
		users, groups := make(map[string]map[*farmServer]bool), make(map[string]map[*farmServer]bool)
		for _, m := range w.members {
			count[w.channel("connection", m.id)]++
			note(users, m.user, m.server)
			for group := range m.groups {
				note(groups, group, m.server)
			}
		}
		for user, servers := range users {
			count[w.channel("user", user)] = int64(len(servers))
		}
		for group, servers := range groups {
			count[w.channel("group", group)] = int64(len(servers))
		}
		for _, s := range w.servers {
			if s.gone {
				continue
			}
			for _, own := range []string{"all", "internal:groups", "internal:ack", "internal:return"} {
				count[w.channel(own)]++
			}
		}
	}
	return count
}

func note(servers map[string]map[*farmServer]bool, name string, s *farmServer) {
	if servers[name] == nil {
		servers[name] = make(map[*farmServer]bool)
	}
	servers[name][s] = true
}

// subscribed is what is subscribed to on Redis, put as channels does.
func (f *farm) subscribed(t *testing.T) map[string]int64 {
	t.Helper()
	names, err := f.redis.PubSubChannels(t.Context(), "*").Result()
	if err != nil {
		t.Fatal(err)
	}
	numbers, err := f.redis.PubSubNumSub(t.Context(), names...).Result()
	if err != nil {
		t.Fatal(err)
	}
	count := make(map[string]int64)
	for name, n := range numbers {
		if n == 0 || strings.HasSuffix(name, "__Booksleeve_MasterChanged") {
			continue // gone meanwhile, or the .NET client's own
		}
		for _, own := range []string{":internal:ack", ":internal:return"} {
			if before, _, found := strings.Cut(name, own+":"); found {
				name = before + own
			}
		}
		if before, _, found := strings.Cut(name, serverChannel); found {
			name = before + serverChannel
		}
		count[name] += n
	}
	return count
}

// awaitChannels waits until what is subscribed to is exactly what should be.
func (f *farm) awaitChannels(t *testing.T) {
	t.Helper()
	want := f.channels()
	deadline := time.Now().Add(patience)
	for {
		got := f.subscribed(t)
		if maps.Equal(got, want) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("channels and subscribers:\n%s", strings.Join(differences(got, want), "\n"))
		}
		time.Sleep(10 * time.Millisecond) // Redis does not say when
	}
}

func differences(got, want map[string]int64) (lines []string) {
	for name, n := range want {
		if got[name] != n {
			lines = append(lines, fmt.Sprintf("%q: %d, want %d", name, got[name], n))
		}
	}
	for name, n := range got {
		if want[name] == 0 {
			lines = append(lines, fmt.Sprintf("%q: %d, want none", name, n))
		}
	}
	slices.Sort(lines)
	return lines
}
