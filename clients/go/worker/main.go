// Command worker publishes notifications, which every signalrd hands to its
// clients:
//
//	go run ./clients/go/worker [--user NAME] [--count N] MESSAGE
//
// Without --user everybody gets them. --count publishes N, numbered from 1,
// as fast as Redis takes them. REDIS_URL says where Redis is, by default
// redis://127.0.0.1:6379. NOTIFY_KEYS_FILE names the file with the key that they
// are signed with; without it they are not.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"
)

// notification is what travels: a user that is left out means everybody.
type notification struct {
	User    string `json:"user,omitempty"`
	Message string `json:"message"`

	// With a signature only.
	ID        string `json:"id,omitempty"`
	Time      int64  `json:"time,omitempty"`
	Key       string `json:"key,omitempty"`
	Signature string `json:"signature,omitempty"`
}

const channel = "notify.users"

func main() {
	user := flag.String("user", "", "the user to notify; without it everybody")
	count := flag.Int("count", 1, "how many to publish, numbered if more than one")
	flag.Usage = func() {
		fmt.Fprintln(os.Stderr, "usage: go run ./clients/go/worker [--user NAME] [--count N] MESSAGE")
		flag.PrintDefaults()
	}
	flag.Parse()
	if flag.NArg() != 1 || *count < 1 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	servers, err := publish(ctx, notification{User: *user, Message: flag.Arg(0)}, *count)
	if err != nil {
		fmt.Fprintln(os.Stderr, "not published:", err)
		os.Exit(1)
	}
	fmt.Printf("published %d, heard by %d server(s)\n", *count, servers)
}

// publish says how many subscribers heard it.
func publish(ctx context.Context, n notification, count int) (servers int64, err error) {
	options, err := redis.ParseURL(cmp.Or(os.Getenv("REDIS_URL"), "redis://127.0.0.1:6379"))
	if err != nil {
		return 0, fmt.Errorf("REDIS_URL: %w", err)
	}
	var signing *key // nil: not at all
	if file := os.Getenv("NOTIFY_KEYS_FILE"); file != "" {
		if signing, err = readKey(file); err != nil {
			return 0, fmt.Errorf("NOTIFY_KEYS_FILE: %w", err)
		}
	}
	options.MaxRetries = -1 // what seems to have failed may have been published
	client := redis.NewClient(options)
	defer func() { _ = client.Close() }()
	const batch = 1000 // what travels together
	text := n.Message
	for first := 1; first <= count; first += batch {
		sent, err := client.Pipelined(ctx, func(p redis.Pipeliner) error {
			for i := first; i < first+batch && i <= count; i++ {
				if count > 1 {
					n.Message = fmt.Sprintf("%s %d", text, i)
				}
				if signing != nil && !utf8.ValidString(n.User+n.Message) {
					return errors.New("what is not UTF-8 cannot be signed")
				} else if signing != nil {
					signing.sign(&n, channel, uuid.NewString(), time.Now().Unix())
				}
				payload, err := json.Marshal(n)
				if err != nil {
					return err
				}
				p.Publish(ctx, channel, payload)
			}
			return nil
		})
		if err != nil {
			return 0, err
		}
		for _, reply := range sent {
			servers = max(servers, reply.(*redis.IntCmd).Val())
		}
	}
	return servers, nil
}
