package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/redis/go-redis/v9"

	"signalrd/backplane"
	"signalrd/internal/doctor"
	"signalrd/internal/publish"
	"signalrd/notify"
)

// publishCommand publishes notifications.
type publishCommand struct {
	Text *string `arg:"" optional:"" help:"The message; without it, notifications are read from standard input."`
	User *string `env:"-" placeholder:"NAME" help:"Whom it is for (default: everybody)."`

	NotifyKeysFile string `placeholder:"FILE" help:"File with keys; notifications are signed with the first of them (default: not signed)."`

	configFlag    `embed:""`
	notifyChannel `embed:""`
	notifyLimit   `embed:""`
	redisConfig   `embed:"" set:"redis_default=redis://127.0.0.1:6379"`
}

// Help is behind the summary in --help.
func (publishCommand) Help() string {
	return `Every server that takes notifications hands it to its clients, as ReceiveMessage("System", TEXT). Redis keeps nothing: who is not there does not get it.

    signalrd publish --user Ale "Your report is ready!"
    signalrd publish "We are back at noon."

From standard input comes a notification on each line, without "user" for everybody:

    {"user":"Ale","message":"Your report is ready!"}

    signalrd publish --redis=redis://redis:6379 < notifications.jsonl

With --notify-keys-file they are signed, for servers that take no others.

A line that is none is named with its number, and the others are published.

Exit codes: 0 all were published, and a server heard each; 1 some were not; 2 the command line makes no sense.`
}

// Run publishes.
func (c *publishCommand) Run(ctx context.Context, s *streams) error {
	if c.Text == nil && c.User != nil {
		return usageError{fmt.Errorf(`--user goes with a text; on standard input each line names its own: {"user":%q,"message":"..."}`, *c.User)}
	}
	key, err := c.key()
	if err != nil {
		return usageError{err}
	}
	at, err := c.orLocal()
	if err != nil {
		return err
	}
	o := at.Options()
	o.MaxRetries, o.DialerRetries = -1, 1 // what seems to have failed may have been published
	client := redis.NewClient(o)
	defer client.Close()
	result, err := c.publish(ctx, client, key, s)
	if err != nil {
		if result.Published > 0 {
			fmt.Fprintf(s.out, "published %d\n", result.Published)
		}
		if ctx.Err() != nil {
			return errors.New("interrupted: what is left is not published")
		}
		return advised(err, doctor.RedisAdvice(err))
	}
	return c.tell(result, at, s.out)
}

// key is what to sign with, nil for nothing.
func (c *publishCommand) key() (*notify.Key, error) {
	if c.NotifyKeysFile == "" {
		return nil, nil
	}
	text, err := os.ReadFile(c.NotifyKeysFile)
	if err != nil {
		return nil, fmt.Errorf("--notify-keys-file: %w", err)
	}
	keys, err := notify.ParseKeys(text)
	if err != nil {
		return nil, fmt.Errorf("--notify-keys-file=%s: %w", c.NotifyKeysFile, err)
	}
	return &keys[0], nil
}

func (c *publishCommand) publish(ctx context.Context, client *redis.Client, key *notify.Key, s *streams) (publish.Result, error) {
	o := publish.Options{
		Channel:  c.NotifyChannel,
		MaxBytes: c.NotifyMaxBytes,
		Key:      key,
		Refused:  func(line int, why error) { fmt.Fprintf(s.err, "line %d is not published: %v\n", line, why) },
	}
	if c.Text != nil {
		return publish.New(client, o).One(ctx, publish.Notification{User: c.User, Message: c.Text})
	}
	if isTerminal(s.err) {
		o.Progress = func(published int) { fmt.Fprintf(s.err, "%d published\r", published) }
	}
	return publish.New(client, o).All(ctx, s.in)
}

// tell says what came of it.
func (c *publishCommand) tell(r publish.Result, at *backplane.Deployment, out io.Writer) error {
	cluster := c.RedisMode == "cluster"
	switch {
	case r.Published == 0:
		fmt.Fprintln(out, "published 0")
	case cluster:
		fmt.Fprintf(out, "published %d, heard by %s at this node of the cluster\n", r.Published, servers(r))
	default:
		fmt.Fprintf(out, "published %d, heard by %s\n", r.Published, servers(r))
	}
	if r.Unheard > 0 && !cluster {
		what := "it"
		if r.Published > 1 {
			what = fmt.Sprintf("%d of them", r.Unheard)
		}
		return fmt.Errorf("nobody heard %s, and Redis keeps nothing\n  does a server run on %s that takes notifications from %s? signalrd doctor tells", what, at, c.NotifyChannel)
	}
	if r.Refused > 0 {
		return fmt.Errorf("%d lines were not published", r.Refused)
	}
	return nil
}

// servers says how many heard a notification.
func servers(r publish.Result) string {
	switch {
	case r.Most == 0:
		return "nobody"
	case r.Fewest < r.Most:
		return fmt.Sprintf("%d to %d servers", r.Fewest, r.Most)
	case r.Most == 1:
		return "1 server"
	}
	return fmt.Sprintf("%d servers", r.Most)
}
