package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"signalrd/hubs/protocol"
	signalr "signalrd/internal/client"
)

// cutStreams has streams end in the middle: by their reader, by its leaving, or by a
// cancellation. What comes of them has no gap.
func cutStreams(r *run) {
	chances := r.chances(90)
	r.must("streams", together(len(chances), 30, func(i int) error {
		return cutStream(r.servers[i%len(r.servers)].hub(), carriers[i%len(carriers)], chances[i])
	}))
}

func cutStream(hub string, by carrier, chance *rand.Rand) error {
	c, err := connect(hub, "reader", by)
	if err != nil {
		return err
	}
	defer c.abort()
	var next, wrong atomic.Int64
	ended := make(chan outcome, 1)
	id, err := c.begin(&protocol.Message{Type: protocol.StreamInvocation, Target: "Counter", Args: []any{1 << 30, 1}},
		&call{done: func(o outcome) { ended <- o }, each: func(item string) {
			if item != fmt.Sprint(next.Add(1)-1) {
				wrong.Add(1)
			}
		}})
	if err != nil {
		return err
	}
	err = eventually(func() error {
		if n := next.Load(); n < 5 {
			return fmt.Errorf("%d items", n)
		}
		return nil
	})
	time.Sleep(time.Duration(chance.IntN(300)) * time.Millisecond)
	if chance.IntN(2) == 0 {
		if err := c.conn.Send(context.Background(), &protocol.Message{Type: protocol.CancelInvocation, InvocationID: id}); err != nil {
			return err
		}
		_, stopped := c.await("the end of a stream that was cancelled", ended)
		err = errors.Join(err, stopped)
	}
	if wrong.Load() > 0 {
		err = errors.Join(err, fmt.Errorf("%s: %d of %d items of a stream are not the next", by, wrong.Load(), next.Load()))
	}
	return err
}

// cutUploads has uploads end in the middle, or in good order.
func cutUploads(r *run) {
	chances := r.chances(150)
	r.must("uploads", together(len(chances), 30, func(i int) error {
		return cutUpload(r.servers[i%len(r.servers)].hub(), carriers[i%len(carriers)], chances[i])
	}))
}

func cutUpload(hub string, by carrier, chance *rand.Rand) error {
	c, err := connect(hub, "writer", by)
	if err != nil {
		return err
	}
	defer c.abort()
	done := make(chan outcome, 1)
	m := invocation("UploadSum")
	m.StreamIDs = []string{"up"}
	if _, err := c.begin(m, &call{done: func(o outcome) { done <- o }}); err != nil {
		return err
	}
	sum := 0
	for range chance.IntN(50) {
		item := chance.IntN(1000)
		if err := c.conn.Send(context.Background(), &protocol.Message{Type: protocol.StreamItem, InvocationID: "up", Value: item}); err != nil {
			return err
		}
		sum += item
	}
	end := &protocol.Message{Type: protocol.Completion, InvocationID: "up"}
	switch chance.IntN(3) {
	case 0: // it leaves in the middle
		return nil
	case 1:
		end.HasError, end.Error = true, "the upload broke"
	}
	if err := c.conn.Send(context.Background(), end); err != nil {
		return err
	}
	got, err := c.await("UploadSum", done)
	if refused, ok := errors.AsType[errRefused](err); ok == end.HasError && ok {
		return nil
	} else if ok {
		return refused
	}
	if err != nil || got != fmt.Sprint(sum) {
		return fmt.Errorf("%s: the sum of an upload is %s, want %d (%v)", by, got, sum, err)
	}
	return nil
}

// abandonQuestions has clients be asked on other servers, who answer, say nothing and
// leave, or are dropped; and askers leave before they have an answer. Every question of
// those who stay has an outcome.
func abandonQuestions(r *run) {
	chances := r.chances(60)
	r.must("questions", together(len(chances), 20, func(i int) error {
		return abandonQuestion(r.servers[i%len(r.servers)].hub(), r.servers[(i/2)%len(r.servers)].hub(), chances[i])
	}))
}

func abandonQuestion(asked, asking string, chance *rand.Rand) error {
	silent := chance.IntN(2) == 0
	c, err := connect(asked, "asked", anyCarrier(chance), func(c *client, _ *signalr.Options) {
		c.ask = func(question string) (string, bool) { return "re: " + question, !silent }
	})
	if err != nil {
		return err
	}
	defer c.close()
	by, err := connect(asking, "asking", anyCarrier(chance))
	if err != nil {
		return err
	}
	defer by.close()
	outcomes := make([]chan outcome, 5)
	for i := range outcomes {
		outcomes[i] = make(chan outcome, 1)
		if err := by.start(func(o outcome) { outcomes[i] <- o }, "AskConnection", c.conn.ID, fmt.Sprint(i)); err != nil {
			return err
		}
	}
	if silent {
		time.Sleep(time.Duration(chance.IntN(300)) * time.Millisecond)
		if chance.IntN(3) == 0 {
			by.abort() // so that nobody waits any more
			return nil
		}
		c.close()
	}
	for i := range outcomes {
		answer, err := by.await("AskConnection", outcomes[i])
		switch {
		case silent && err == nil:
			return fmt.Errorf("who said nothing has answered %q", answer)
		case !silent && (err != nil || answer != fmt.Sprint("answer: re: ", i)):
			return fmt.Errorf("question %d is answered %q, %w", i, answer, err)
		}
	}
	return nil
}
