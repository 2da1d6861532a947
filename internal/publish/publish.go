// Package publish sends notifications as a worker does:
//
//	text, or lines of JSON → Notification → batches of PUBLISH → how many servers heard each
//
// It is stricter than who receives them. They leave out what they do not know, and what
// has no user is for everybody: here a misspelt user is an error, and so is an empty one.
package publish

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"
	"github.com/redis/go-redis/v9"

	"signalrd/notify"
)

// Notification is what travels.
type Notification struct {
	User    *string `json:"user,omitempty"` // nil: everybody
	Message *string `json:"message"`
}

// Options say where notifications go.
type Options struct {
	Channel  string
	MaxBytes int // of a notification; servers refuse what is larger

	// Key is what notifications are signed with. Nil: they are not.
	Key *notify.Key

	// Refused is told of each line that is no notification.
	Refused func(line int, why error)

	// Progress is told now and then how many are published. Nil: nobody is told.
	Progress func(published int)
}

// Result is what came of it.
type Result struct {
	Published int
	Refused   int   // lines that are no notifications
	Unheard   int   // published, and no server was there to hear it
	Fewest    int64 // servers that heard one; 0 if nothing was published
	Most      int64
}

// Publisher publishes over a client that must not retry: what seems to have failed may
// have been published. In a cluster servers are counted at the node of the client only.
type Publisher struct {
	client  *redis.Client
	options Options
	result  Result
	told    time.Time // when Progress was
}

// New makes a Publisher. The client stays the caller's to close.
func New(client *redis.Client, o Options) *Publisher { return &Publisher{client: client, options: o} }

// One publishes one notification.
func (p *Publisher) One(ctx context.Context, n Notification) (Result, error) {
	payload, err := n.encode(&p.options)
	if err != nil {
		return p.result, err
	}
	err = p.publish(ctx, []entry{{text: payload}})
	return p.result, err
}

// All publishes a notification for each line, in order, what is there together in one
// batch. A line that is no notification is refused, and the others go on. It ends with
// the input, with ctx, or when Redis fails: then it is unknown which of the last batch
// were published, and the error says where that begins.
func (p *Publisher) All(ctx context.Context, in io.Reader) (Result, error) {
	lines := make(chan []entry)
	unread := make(chan error, 1)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	// Who reads from a terminal cannot be stopped: it is not waited for, and ends with
	// its next line, or the program.
	go func() {
		defer close(lines)
		unread <- read(ctx, in, p.options.MaxBytes, lines)
	}()
	for {
		select {
		case batch, more := <-lines:
			if !more {
				return p.result, <-unread
			}
			if err := p.publish(ctx, p.accept(batch)); err != nil {
				return p.result, err
			}
		case <-ctx.Done():
			return p.result, context.Cause(ctx)
		}
	}
}

// accept makes notifications of lines.
func (p *Publisher) accept(lines []entry) (good []entry) {
	for _, line := range lines {
		var err error
		if line.text, err = line.payload(&p.options); err != nil {
			p.result.Refused++
			p.options.Refused(line.number, err)
			continue
		}
		good = append(good, line)
	}
	return good
}

// payload is what to publish of a line.
func (e entry) payload(o *Options) ([]byte, error) {
	if e.cut {
		return nil, tooLong(o.MaxBytes)
	}
	n, err := parse(e.text)
	if err != nil {
		return nil, err
	}
	return n.encode(o)
}

// publish sends a batch in as few round trips as it needs.
func (p *Publisher) publish(ctx context.Context, batch []entry) error {
	if len(batch) == 0 {
		return nil
	}
	replies, err := p.client.Pipelined(ctx, func(pipe redis.Pipeliner) error {
		for _, entry := range batch {
			pipe.Publish(ctx, p.options.Channel, entry.text)
		}
		return nil
	})
	for i, reply := range replies {
		if reply.Err() != nil {
			return failed(batch[i], reply.Err())
		}
		p.count(reply.(*redis.IntCmd).Val())
	}
	if err != nil {
		return failed(batch[0], err)
	}
	if now := time.Now(); p.options.Progress != nil && now.Sub(p.told) > 100*time.Millisecond {
		p.told = now
		p.options.Progress(p.result.Published)
	}
	return nil
}

// failed says from where on nothing is known to be published.
func failed(from entry, err error) error {
	return fmt.Errorf("publish from line %d on: %w", from.number, err)
}

func (p *Publisher) count(servers int64) {
	r := &p.result
	if r.Published == 0 {
		r.Fewest = servers
	}
	r.Published++
	r.Fewest, r.Most = min(r.Fewest, servers), max(r.Most, servers)
	if servers == 0 {
		r.Unheard++
	}
}

// form is what a line has to look like.
const form = `{"user":"Ale","message":"Your report is ready!"}, without user for everybody`

// parse takes a notification from a line.
func parse(line []byte) (n Notification, err error) {
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&n); err != nil {
		return n, explain(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return n, errors.New("there is more behind the notification; say one on each line")
	}
	return n, nil
}

// explain says what to do about a line that encoding/json does not take.
func explain(err error) error {
	if wrong, ok := errors.AsType[*json.UnmarshalTypeError](err); ok && wrong.Field != "" {
		return fmt.Errorf("the %s is a JSON %s; make it a string", wrong.Field, wrong.Value)
	} else if ok {
		return fmt.Errorf("it is a JSON %s; say %s", wrong.Value, form)
	}
	if wrong, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fmt.Errorf("it is no JSON from byte %d on (%w); say %s", wrong.Offset, wrong, form)
	}
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("it ends too early; say %s on one line", form)
	}
	return fmt.Errorf("%w; say %s", err, form) // an unknown field
}

// encode makes the bytes that travel, if servers would take them.
func (n Notification) encode(o *Options) ([]byte, error) {
	switch {
	case n.Message == nil:
		return nil, fmt.Errorf("there is no message; say %s", form)
	case n.User != nil && *n.User == "":
		return nil, errors.New("the user is empty, which would mean everybody; leave it out if that is meant")
	}
	sent, err := n.signed(o)
	if err != nil {
		return nil, err
	}
	var payload bytes.Buffer
	e := json.NewEncoder(&payload)
	e.SetEscapeHTML(false)
	if err := e.Encode(sent); err != nil {
		return nil, err
	}
	text := bytes.TrimSuffix(payload.Bytes(), []byte("\n"))
	if len(text) > o.MaxBytes {
		return nil, tooLong(o.MaxBytes)
	}
	return text, nil
}

// signed is a notification with all that belongs to a signature, or as it is.
func (n Notification) signed(o *Options) (any, error) {
	if o.Key == nil {
		return n, nil
	}
	content := notify.Signed{ID: uuid.NewString(), Time: time.Now().Unix(), Message: *n.Message}
	if n.User != nil {
		content.User = *n.User
	}
	if !utf8.ValidString(content.User) || !utf8.ValidString(content.Message) { // JSON would have other bytes than are signed
		return nil, errors.New("it is not UTF-8, and so cannot be signed")
	}
	return struct {
		Notification
		ID        string `json:"id"`
		Time      int64  `json:"time"`
		Key       string `json:"key"`
		Signature string `json:"signature"`
	}{n, content.ID, content.Time, o.Key.ID(), o.Key.Sign(o.Channel, content)}, nil
}

func tooLong(maxBytes int) error {
	return fmt.Errorf("it is longer than the %d bytes that servers take; shorten it, or raise --notify-max-bytes here and there", maxBytes)
}
