package e2e

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/tinylib/msgp/msgp"

	"signalrd/internal/peers"
)

// packed is MessagePack of a value.
func packed(t *testing.T, value any) string {
	t.Helper()
	b, err := msgp.AppendIntf(nil, value)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// saying is an invocation of ReceiveMessage as servers send it to one another (protocol §11.2).
func saying(t *testing.T, protocol, text string) string {
	t.Helper()
	return packed(t, []any{[]any{}, map[string]any{protocol: []byte(received("forged", text) + "\x1e")}})
}

// forgedPayloads are what somebody might publish who may do so where servers do, and
// nobody is to be told. Each call makes them anew: other servers, other numbers.
func forgedPayloads(t *testing.T) []string {
	t.Helper()
	server := make([]byte, 16)
	rand.Read(server)
	number := binary.BigEndian.Uint32(server)
	long := strings.Repeat("x", 10<<10)
	whole := saying(t, "xml", "whole")
	stamped := "\x93" + whole[1:] + "\xc4\x18" + string(server) + "\x00\x00\x00\x00\x00\x00\x00\x01"
	forged := []string{
		"", "x", "\xc1", "\x92", `{"user":"Ale","message":"forged"}`, "forged\r\nlevel=error msg=forged", long,
		"\xdd\xff\xff\xff\xff", "\xdf\xff\xff\xff\xff", "\x92\x90\xdf\xff\xff\xff\xff", "\x92\xdd\xff\xff\xff\xff", "\x92\x90\x81\xa4json\xc6\xff\xff\xff\xff", // that claim to be large
		strings.Repeat("\x91", 100_000), strings.Repeat("\x81\xa1x", 30_000), // that are deep
		whole, stamped, // in no client's protocol
		packed(t, []any{[]any{}, map[string]any{}}), packed(t, []any{[]any{long}, map[string]any{"json": []byte{}}}),
		packed(t, []any{number, "forged\r\nserver", 1, "group", "nobody"}), packed(t, []any{1, long, 2, long, long}), packed(t, []any{1, "s", 77, "", ""}), // group commands
		packed(t, []any{1}), packed(t, []any{int64(-1)}), packed(t, []any{uint64(1) << 63}), // acks
		packed(t, []any{"json", []byte(`{"type":3,"invocationId":"1","result":"forged"}` + "\x1e")}), packed(t, []any{"xml", []byte("forged")}), packed(t, []any{"json", []byte{}}), // results
		packed(t, []any{0, number}), packed(t, []any{1, server, 1, 1000, number, map[string]any{}, nil}), packed(t, []any{2, server, 1, 1, number, []any{}, 1 << 40}), // between signalrd servers
		packed(t, []any{3, server, 1, []any{[]any{number, "ChatHub:nowhere", []byte(whole)}}}), packed(t, []any{4, server}), packed(t, []any{77, server}), packed(t, []any{1, "short"}),
	}
	for i := range whole { // cut short
		forged = append(forged, whole[:i])
	}
	return forged
}

// Whatever is published on the channels of servers by somebody who is none, they
// go on, with memory and a log that have bounds, and nobody is told what was not for them.
func TestForgedBackplane(t *testing.T) {
	store := peers.Redis(t)
	forger := publisher(t, store)
	flags := []string{"--redis=redis://" + store.Addr(), "--log-level=debug"}
	one, two := startServer(t, flags...), startServer(t, flags...)
	ale, bo := connect(t, one.url, "Ale"), connect(t, two.url, "Bo")
	b := watchBystander(t, one.url)
	channels, err := forger.PubSubChannels(t.Context(), "*").Result()
	if err != nil || len(channels) < 15 {
		t.Fatalf("channels %q, %v", channels, err)
	}
	channels = slices.DeleteFunc(channels, func(channel string) bool { return channel == notifyChannel })
	before := one.memory(t, "VmRSS")
	published := 0
	for range 10 {
		_, err := forger.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for _, channel := range channels {
				for _, payload := range forgedPayloads(t) {
					p.Publish(context.Background(), channel, payload)
					published++
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// Names that are nearly those of channels are nobody's.
	for _, nearly := range []string{"ChatHub:user:bo", "ChatHub:user:Bo ", "ChatHub:user:Bo\x00", "ChatHub:user:", "ChatHub:user:*", "ChatHub:ALL", "chathub:all", "ChatHub:all:", "ChatHub:group:Bo", "hatHub:all", "xChatHub:all"} {
		if heard, err := forger.Publish(t.Context(), nearly, saying(t, "json", "nearly")).Result(); err != nil || heard != 0 {
			t.Errorf("%d servers hear %q, %v", heard, nearly, err)
		}
	}
	if heard, err := forger.Publish(t.Context(), "ChatHub:user:Bo", saying(t, "json", "for Bo alone")).Result(); err != nil || heard != 1 {
		t.Errorf("%d servers hear what is for Bo, %v", heard, err)
	}
	bo.expect(t, received("forged", "for Bo alone"))
	b.check(t)
	ale.invoke(t, "SendMessage", "still here")
	ale.expect(t, received("Ale", "still here"))
	bo.expect(t, received("Ale", "still here"))
	if peak := one.memory(t, "VmHWM") - before; peak > allowance(64) {
		t.Errorf("%d forged payloads have cost %d MB", published, peak>>20)
	}
	for _, s := range []*server{one, two} {
		s.terminate(t)
		s.checkForgedLog(t, published)
	}
}

// checkForgedLog wants a log that says what goes on, but not each time, nor what is in it.
func (s *server) checkForgedLog(t *testing.T, published int) {
	t.Helper()
	for _, line := range s.stderr {
		if !strings.HasPrefix(line, "level=") || strings.Contains(line, "level=error") || strings.Contains(line, "forged") || len(line) > 1000 {
			t.Errorf("logged %.300q", line)
		}
	}
	t.Logf("%d lines logged of %d payloads", len(s.stderr), published)
	if len(s.stderr) > 150 {
		t.Errorf("%d lines are logged", len(s.stderr))
	}
	for _, said := range []string{"payload skipped", "what another server says is skipped", "more warnings than are logged one by one"} {
		if !slices.ContainsFunc(s.stderr, func(line string) bool { return strings.Contains(line, said) }) {
			t.Errorf("the log does not say %q", said)
		}
	}
}

// Servers that do not exist, in any number, are not remembered for ever, and those
// that do exist go on hearing one another.
func TestForgedServers(t *testing.T) {
	store := peers.Redis(t)
	forger := publisher(t, store)
	one, two := startServer(t, "--redis=redis://"+store.Addr()), startServer(t, "--redis=redis://"+store.Addr())
	ale, bo := connect(t, one.url, "Ale"), connect(t, two.url, "Bo")
	before := one.memory(t, "VmRSS")
	const atOnce = 1000
	servers := 20_000
	if peers.Race {
		servers = 4000 // each takes its time
	}
	heard := make(map[string]any)
	for i := range 100 {
		heard[fmt.Sprintf("%016d", i)] = 1
	}
	server := make([]byte, 16)
	for range servers / atOnce {
		_, err := forger.Pipelined(t.Context(), func(p redis.Pipeliner) error {
			for range atOnce {
				rand.Read(server)
				p.Publish(context.Background(), farmChannel, packed(t, []any{1, server, 1, 1000, 1 << 40, heard, nil}))
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		ale.invoke(t, "SendMessage", fmt.Sprint("to Bo ", i))
		bo.invoke(t, "SendMessage", fmt.Sprint("to Ale ", i))
		// Each sees both, in an order of its own.
		for _, c := range []*client{ale, bo} {
			c.await(t, "both messages", func(records []string, _ error) bool { return len(records) == 2*(i+1) })
		}
	}
	if peak := one.memory(t, "VmHWM") - before; peak > allowance(48) {
		t.Errorf("%d servers that do not exist have cost %d MB", servers, peak>>20)
	} else {
		t.Logf("%d servers that do not exist have cost %d MB", servers, peak>>20)
	}
}
