package backplane

import (
	"context"
	"fmt"
	"testing"
	"time"

	"signalrd/hubs/protocol"
)

// respondent is a client that is asked, and answers when the test says so.
type respondent struct {
	id        string
	speaks    protocol.Protocol
	questions chan question
}

// question is an invocation that a respondent received.
type question struct{ id, text string }

func newRespondent(id string, p protocol.Protocol) *respondent {
	return &respondent{id: id, speaks: p, questions: make(chan question, 10000)}
}

func (c *respondent) ID() string                  { return c.id }
func (c *respondent) UserID() string              { return "" }
func (c *respondent) Protocol() protocol.Protocol { return c.speaks }

// Deliver keeps what the client is asked, and nothing else.
func (c *respondent) Deliver(framed []byte) {
	var m protocol.Message
	record, _, err := c.speaks.Next(framed, 0)
	if err == nil {
		err = c.speaks.Parse(record, &m)
	}
	q := question{id: m.InvocationID}
	if err == nil && m.InvocationID != "" {
		err = c.speaks.Unmarshal(m.Arguments[0], &q.text)
	}
	switch {
	case err != nil:
		panic(fmt.Sprintf("%s cannot read %q: %v", c.id, framed, err))
	case q.id != "":
		c.questions <- q
	}
}

// next is the next question.
func (c *respondent) next(t testing.TB) question {
	t.Helper()
	select {
	case q := <-c.questions:
		return q
	case <-time.After(patience):
		t.Fatalf("%s is not asked", c.id)
		return question{}
	}
}

// say hands in a Completion as it arrives from a client: read from bytes that are
// used for something else afterwards.
func (c *respondent) say(t testing.TB, server Backplane, m protocol.Message) (known bool, err error) {
	t.Helper()
	m.Type = protocol.Completion
	framed, err := c.speaks.Append(nil, &m)
	if err != nil {
		t.Fatal(err)
	}
	record, _, err := c.speaks.Next(framed, 0)
	if err != nil {
		t.Fatal(err)
	}
	var read protocol.Message
	if err := c.speaks.Parse(record, &read); err != nil {
		t.Fatal(err)
	}
	known, err = server.Complete(c, &read)
	clear(framed)
	return known, err
}

// answer hands in a result that is awaited.
func (c *respondent) answer(t testing.TB, server Backplane, id string, result any) {
	t.Helper()
	known, err := c.say(t, server, protocol.Message{InvocationID: id, HasResult: true, Value: result})
	if !known || err != nil {
		t.Errorf("%s answered %s: known %t, %v", c.id, id, known, err)
	}
}

// inquire invokes a method of a client in the background.
func inquire(ctx context.Context, server Backplane, connectionID string, args ...any) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		answer, err := server.Invoke(ctx, connectionID, "Ask", args...)
		done <- outcome{answer, err}
	}()
	return done
}

// await is the outcome of an ask.
func await(t testing.TB, done <-chan outcome) (Answer, error) {
	t.Helper()
	select {
	case o := <-done:
		return o.answer, o.err
	case <-time.After(patience):
		t.Fatal("whoever asked is left waiting")
		return Answer{}, nil
	}
}

// text is the result of an answer as a string.
func text(t testing.TB, a Answer, err error) (s string) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	if err := a.Unmarshal(&s); err != nil {
		t.Fatalf("%+v: %v", a, err)
	}
	return s
}

// checkNamed sees whether an error is what ASP.NET Core throws.
func checkNamed(t testing.TB, err error, exception, text string) {
	t.Helper()
	named, ok := err.(interface{ ExceptionType() string })
	if !ok || named.ExceptionType() != exception || err.Error() != text {
		t.Errorf("got %T %v, want %s: %s", err, err, exception, text)
	}
}

// asksOf is what the connections of a server, and those it asks, have not answered.
func asksOf(server Backplane) *asks {
	if r, ok := server.(*Redis); ok {
		return &r.local.asks
	}
	return &server.(*Local).asks
}

func (s *asks) count() (n, connections int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.byID), len(s.of)
}

// checkNothingAsked sees whether anything is kept of what is over.
func checkNothingAsked(t testing.TB, servers []Backplane) {
	t.Helper()
	for i, server := range servers {
		eventually(t, fmt.Sprintf("server %d keeps no ask", i), func() bool {
			n, connections := asksOf(server).count()
			return n == 0 && connections == 0
		})
	}
}
