package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/internal/peers"
)

// publisher is a worker with a Redis connection of its own.
func publisher(t *testing.T, store *peers.RedisServer) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: store.Addr(), MaxRetries: -1})
	t.Cleanup(func() { client.Close() })
	return client
}

// A thousand notifications at full speed to twenty connections on each of two
// servers: nothing lost, doubled or out of order.
func TestNotificationsAtFullSpeed(t *testing.T) {
	store := peers.Redis(t)
	worker := publisher(t, store)
	const connections, notifications = 20, 1000
	var clients []*client
	for range 2 {
		s := startServer(t, "--redis=redis://"+store.Addr())
		for i := range connections {
			clients = append(clients, connect(t, s.url, fmt.Sprint("user", i%5)))
		}
	}
	want := make(map[string][]string) // by user
	_, err := worker.Pipelined(t.Context(), func(p redis.Pipeliner) error {
		for i := range notifications {
			text, user := fmt.Sprint("note ", i), ""
			if i%3 == 0 {
				user = fmt.Sprint("user", i%5)
			}
			for u := range 5 {
				if name := fmt.Sprint("user", u); user == "" || user == name {
					want[name] = append(want[name], received("System", text))
				}
			}
			p.Publish(context.Background(), "notify.users", fmt.Sprintf(`{"User":%q,"Message":%q}`, user, text))
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range clients {
		c.await(t, "all notifications", func(records []string, _ error) bool { return len(records) >= len(want[c.name]) })
	}
	time.Sleep(300 * time.Millisecond) // for notifications that should not come
	for i, c := range clients {
		c.mu.Lock()
		if !slices.Equal(c.records, want[c.name]) {
			t.Errorf("connection %d of %s has %d notifications that are not the %d published, in their order", i, c.name, len(c.records), len(want[c.name]))
		}
		c.mu.Unlock()
	}
}

// Redis dies under two servers and comes back: connections stay, the logs say
// what happened, and messages flow again.
func TestRedisRestart(t *testing.T) {
	store := peers.Redis(t)
	worker := publisher(t, store)
	servers := []*server{startServer(t, "--redis=redis://"+store.Addr()), startServer(t, "--redis=redis://"+store.Addr())}
	var clients []*client
	for i, s := range servers {
		clients = append(clients, connect(t, s.url, fmt.Sprint("user", i)))
	}
	everybody := func(sender, text string) {
		t.Helper()
		for _, c := range clients {
			c.expect(t, received(sender, text))
		}
	}
	clients[0].invoke(t, "SendMessage", "before")
	everybody("user0", "before")

	store.Stop()
	for _, s := range servers {
		s.awaitLog(t, "redis is lost", "part=backplane")
		s.awaitLog(t, "part=notify", "level=warn")
	}
	clients[1].write(t, `{"type":1,"invocationId":"1","target":"Echo","arguments":["alive"]}`+"\x1e")
	clients[1].expect(t, `{"type":3,"invocationId":"1","result":"alive"}`)
	late := connect(t, servers[0].url, "late") // and what it subscribes to stands afterwards
	clients = append(clients, late)
	clients[1].invoke(t, "SendMessage", "meanwhile") // which the other server's get later
	clients[1].expect(t, received("user1", "meanwhile"))

	store.Start()
	for _, s := range servers {
		s.awaitLog(t, "redis is back", "part=backplane")
		s.awaitLog(t, "part=notify", "subscribed to notifications again")
	}
	for _, c := range []*client{clients[0], late} {
		c.expect(t, received("user1", "meanwhile"))
	}
	for i, c := range clients {
		text := fmt.Sprint("after ", i)
		c.invoke(t, "SendMessage", text)
		everybody(c.name, text)
	}
	if err := worker.Publish(t.Context(), "notify.users", `{"message":"welcome back"}`).Err(); err != nil {
		t.Fatal(err)
	}
	everybody("System", "welcome back")
	if err := worker.Publish(t.Context(), "notify.users", `{"user":"late","message":"for you"}`).Err(); err != nil {
		t.Fatal(err)
	}
	late.expect(t, received("System", "for you"))
}

// A server that leaves notifications to others is whole without them.
func TestNoNotify(t *testing.T) {
	store := peers.Redis(t)
	s := startServer(t, "--redis=redis://"+store.Addr(), "--no-notify")
	channels, err := publisher(t, store).PubSubNumSub(t.Context(), "notify.users", "ChatHub:all").Result()
	if err != nil || channels["notify.users"] != 0 || channels["ChatHub:all"] != 1 {
		t.Errorf("subscribers %v (%v)", channels, err)
	}
	for _, line := range s.lines() {
		if strings.Contains(line, "notify.users") {
			t.Errorf("it says how to publish: %s", line)
		}
	}
	c := connect(t, s.url, "Ale")
	c.invoke(t, "SendMessage", "hi")
	c.expect(t, received("Ale", "hi"))
}
