package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/redis/go-redis/v9"

	"signalrd/internal/bench/client"
	"signalrd/internal/bench/wire"
)

// notify has one message on its way, to one client after the other in random order.
// Each client has a stream of its own, so that a message at the wrong one is
// noticed. Messages limits how many are measured.
func notify(ctx context.Context, r *run) error {
	numbers := make([]uint32, r.o.Clients) // by client, sent so far
	r.sent = func(place, _ int) uint32 { return numbers[place] }
	r.streamOf = func(c *client.Conn, m wire.Mark) int {
		if int(m.Stream) != c.Index {
			return -1
		}
		return 0
	}
	if r.o.Clients > wire.MaxStream {
		return fmt.Errorf("%d clients are too many: %d can be told apart", r.o.Clients, wire.MaxStream)
	}
	publish, done := r.publisher()
	defer done()
	if err := r.open(ctx, r.o.Clients, nil); err != nil {
		return err
	}
	if err := r.rest(ctx, r.o.Settle); err != nil { // some servers say hello before they listen to their backplane
		return err
	}
	conns := r.pool.Conns()
	one := func() error {
		to := conns[rand.IntN(len(conns))]
		r.aim(1)
		numbers[to.Index]++
		m := wire.Mark{Run: r.tag, Stream: uint32(to.Index), Number: numbers[to.Index], Sent: client.Now()}
		if err := publish(context.WithoutCancel(ctx), to, m); err != nil {
			return fmt.Errorf("send a notification: %w", err)
		}
		return r.await(context.WithoutCancel(ctx), 0) // what was sent is waited for
	}
	if r.o.WarmUp > 0 {
		if err := repeat(ctx, r.o.WarmUp, one); err != nil {
			return err
		}
	}
	if err := r.begin(); err != nil {
		return err
	}
	left := r.o.Messages
	err := repeat(ctx, r.o.Duration, func() error {
		err := one()
		if left--; left == 0 && err == nil {
			return errEnough
		}
		return err
	})
	if errors.Is(err, errEnough) {
		err = nil
	}
	return errors.Join(err, r.end())
}

// errEnough ends a repetition.
var errEnough = errors.New("enough")

// publisher returns what sends a message to the user of a connection, and what
// is to be called in the end.
func (r *run) publisher() (publish func(context.Context, *client.Conn, wire.Mark) error, done func() error) {
	if r.o.Notify.Redis == "" {
		return r.publishByHub, func() error { return nil }
	}
	store := redis.NewClient(&redis.Options{Addr: r.o.Notify.Redis, DialTimeout: 5 * time.Second})
	publish = func(ctx context.Context, to *client.Conn, m wire.Mark) error {
		payload, err := json.Marshal(map[string]string{
			"user": to.Target.User, "message": string(wire.AppendText(nil, m, r.o.TextBytes)),
		})
		if err != nil {
			return err
		}
		return store.Publish(ctx, r.o.Notify.Channel, payload).Err()
	}
	return publish, store.Close
}

// publishByHub has the first client of the server send.
func (r *run) publishByHub(_ context.Context, to *client.Conn, m wire.Mark) error {
	invocation, err := r.invocation("", r.o.Methods.User, to.Target.User)
	if err != nil {
		return err
	}
	return r.pool.Conns()[0].Send(invocation, m)
}
