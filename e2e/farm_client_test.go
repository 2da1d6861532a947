package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/philippseith/signalr"
)

// invocation is a hub method with its arguments: texts and lists of texts.
type invocation struct {
	method    string
	arguments []any
}

func invoking(method string, arguments ...any) invocation { return invocation{method, arguments} }

// stockConnection is one connection of a stock client.
type stockConnection interface {
	// invoke begins invocations, in order, and returns what waits for their
	// outcomes: results, or "error: " and a text.
	invoke(invocations ...invocation) (outcomes func() ([]string, error))

	// take returns what the hub has invoked on the client since it was last asked,
	// as receipt has it. It waits until that is so many at least.
	take(atLeast int) ([]string, error)

	// close ends the connection.
	close(t *testing.T)
}

// receipt is what a client was told to do.
func receipt(method string, arguments ...string) string { return method + fmt.Sprintf("%q", arguments) }

// driver is a program that holds connections of a stock client. How it is spoken
// to stands in farm.mjs. It is for one goroutine.
type driver struct {
	*process
	calls    int
	parsed   int // lines of its output
	outcomes map[int]string
	receipts map[string][]string // by connection, not taken yet
	trouble  error
}

func startDriver(t *testing.T, p peer) *driver {
	t.Helper()
	return &driver{process: run(t, p.name, p.command(t, "farm")), outcomes: make(map[int]string), receipts: make(map[string][]string)}
}

// command is a line for the driver.
type command struct {
	Call       int    `json:"call"`
	Do         string `json:"do"`
	Connection string `json:"connection"`
	URL        string `json:"url,omitempty"`
	Encoding   string `json:"encoding,omitempty"`
	User       string `json:"user,omitempty"`
	Method     string `json:"method,omitempty"`
	Arguments  []any  `json:"arguments,omitempty"`
}

// event is a line from the driver: the outcome of a call, or what a connection has
// received.
type event struct {
	Call       int
	Result     *string
	Error      *string
	Connection string
	Method     string
	Arguments  []string
}

// begin says a command and returns the number of the call.
func (d *driver) begin(c command) int {
	d.calls++
	c.Call = d.calls
	if c.Arguments == nil {
		c.Arguments = []any{}
	}
	line, err := json.Marshal(c)
	if err == nil {
		_, err = d.stdin.Write(append(line, '\n'))
	}
	if err != nil {
		d.outcomes[c.Call] = "error: " + err.Error()
	}
	return c.Call
}

// outcome waits for that of a call.
func (d *driver) outcome(call int) (string, error) {
	err := d.watch("an outcome", func() bool { return d.outcomes[call] != "" })
	outcome := strings.TrimPrefix(d.outcomes[call], "=")
	delete(d.outcomes, call)
	return outcome, err
}

// watch reads what the driver has printed until done is satisfied.
func (d *driver) watch(what string, done func() bool) error {
	err := d.until(what, func(stdout, _ []string) bool {
		for _, line := range stdout[d.parsed:] {
			d.read(line)
		}
		d.parsed = len(stdout)
		return d.trouble != nil || done()
	})
	return errors.Join(d.trouble, err)
}

func (d *driver) read(line string) {
	var e event
	switch err := json.Unmarshal([]byte(line), &e); {
	case err != nil:
		d.trouble = fmt.Errorf("%s printed %s: %w", d.name, line, err)
	case e.Connection != "":
		d.receipts[e.Connection] = append(d.receipts[e.Connection], receipt(e.Method, e.Arguments...))
	case e.Error != nil:
		d.outcomes[e.Call] = "error: " + *e.Error
	case e.Result != nil:
		d.outcomes[e.Call] = "=" + *e.Result
	default:
		d.outcomes[e.Call] = "="
	}
}

// open begins to connect to a hub, and returns what waits for the connection and
// its id.
func (d *driver) open(name, url, encoding, user string) func(t *testing.T) (stockConnection, string) {
	call := d.begin(command{Do: "open", Connection: name, URL: url, Encoding: encoding, User: user})
	return func(t *testing.T) (stockConnection, string) {
		t.Helper()
		id, err := d.outcome(call)
		if err != nil || strings.HasPrefix(id, "error: ") {
			t.Fatalf("open %s: %s %v", name, id, err)
		}
		return &drivenConnection{d, name}, id
	}
}

// drivenConnection is one that a driver holds.
type drivenConnection struct {
	driver *driver
	name   string
}

func (c *drivenConnection) invoke(invocations ...invocation) func() ([]string, error) {
	calls := make([]int, len(invocations))
	for i, one := range invocations {
		calls[i] = c.driver.begin(command{Do: "invoke", Connection: c.name, Method: one.method, Arguments: one.arguments})
	}
	return func() (outcomes []string, err error) {
		for _, call := range calls {
			outcome, err := c.driver.outcome(call)
			if err != nil {
				return outcomes, err
			}
			outcomes = append(outcomes, outcome)
		}
		return outcomes, nil
	}
}

func (c *drivenConnection) take(atLeast int) ([]string, error) {
	err := c.driver.watch("messages", func() bool { return len(c.driver.receipts[c.name]) >= atLeast })
	taken := c.driver.receipts[c.name]
	delete(c.driver.receipts, c.name)
	return taken, err
}

func (c *drivenConnection) close(t *testing.T) {
	t.Helper()
	outcome, err := c.driver.outcome(c.driver.begin(command{Do: "close", Connection: c.name}))
	if err != nil || outcome != "" {
		t.Fatalf("close %s: %s %v", c.name, outcome, err)
	}
	closed := receipt("closed")
	if err := c.driver.watch("the end of "+c.name, func() bool {
		last := len(c.driver.receipts[c.name]) - 1
		return last >= 0 && c.driver.receipts[c.name][last] == closed
	}); err != nil {
		t.Fatal(err)
	}
	c.driver.receipts[c.name] = c.driver.receipts[c.name][:len(c.driver.receipts[c.name])-1]
}

// farmReceiver has the methods of both hubs' clients.
type farmReceiver struct{ receipts chan<- string }

func (r *farmReceiver) Message(text string) { r.receipts <- receipt("Message", text) }

func (r *farmReceiver) ReceiveMessage(sender, text string) {
	r.receipts <- receipt("ReceiveMessage", sender, text)
}

// goConnection is one of philippseith's client.
type goConnection struct{ *goClient }

// openGoConnection connects to a hub until the test ends, and returns what waits
// for the connection and its id.
func openGoConnection(t *testing.T, url, encoding, user string) func(t *testing.T) (stockConnection, string) {
	t.Helper()
	format := signalr.TransferFormatText
	if encoding == "messagepack" {
		format = signalr.TransferFormatBinary
	}
	receipts := make(chan string, 100)
	c := startGoReceiver(t, url, user, signalr.TransportWebSockets, format, &farmReceiver{receipts})
	c.messages = receipts
	return func(t *testing.T) (stockConnection, string) {
		t.Helper()
		c.await(t, signalr.ClientConnected)
		return &goConnection{c}, c.negotiated.Load().(string)
	}
}

// invoke waits for each invocation before it begins the next: the client does
// not keep the order of those under way.
func (c *goConnection) invoke(invocations ...invocation) func() ([]string, error) {
	var outcomes []string
	done := make(chan error, 1)
	go func() {
		for _, one := range invocations {
			all, ended := collect(c.Invoke(one.method, one.arguments...))
			if !ended {
				done <- fmt.Errorf("the Go client waited in vain for the outcome of %s", one.method)
				return
			}
			outcomes = append(outcomes, strings.TrimPrefix(outcome(all), "<nil>"))
		}
		done <- nil
	}()
	return func() ([]string, error) {
		err := <-done
		return outcomes, err
	}
}

func (c *goConnection) take(atLeast int) (taken []string, err error) {
	for deadline := time.After(patience); len(taken) < atLeast; {
		select {
		case r := <-c.messages:
			taken = append(taken, r)
		case <-deadline:
			return taken, errors.New("the Go client waited in vain for messages")
		}
	}
	for {
		select {
		case r := <-c.messages:
			taken = append(taken, r)
		default:
			return taken, nil
		}
	}
}

func (c *goConnection) close(*testing.T) { c.Stop() }
