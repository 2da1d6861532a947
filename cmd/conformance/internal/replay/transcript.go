// Package replay plays recorded conversations with a server of ASP.NET Core SignalR
// on another server, and says where that one answers differently.
//
//	Load → []Scenario → Play: for each step do what it says, await what it expects,
//	name what varies, compare.
//
// A scenario is a list of steps. A step says what a client does, and all that comes back
// to any client: frames, as texts that start with their kind ("mp [6]"). Connection ids and
// whatever else differs from run to run is written as a name, "${a.id}".
package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"
)

// Scenario is one recorded conversation. It starts without clients.
type Scenario struct {
	Name  string `json:"name"`
	Note  string `json:"note"`
	Steps []Step `json:"steps"`
}

// Step is what is done and what has to come back.
type Step struct {
	Do Action `json:"do"`
	Outcome
	Reference *Outcome `json:"reference"` // what ASP.NET Core does where that is a fault; not wanted

	done string // Do as JSON, to show
}

// Outcome is all that comes back in one step.
type Outcome struct {
	HTTP     json.RawMessage     `json:"http,omitempty"`     // status, body and headers; absent unless a request was made
	Received map[string][]string `json:"received,omitempty"` // the frames of each client that got any
}

// Action is one thing that a client does, and how the outcome is taken. Times are in milliseconds.
type Action struct {
	// One of these, or none to just wait.
	Open        string          `json:"open"`        // connect a client of this name over a WebSocket
	Send        json.RawMessage `json:"send"`        // a message or a list of them
	Close       string          `json:"close"`       // end this client's WebSocket with a close frame
	Kill        string          `json:"kill"`        // drop this client's TCP connection
	Abort       string          `json:"abort"`       // drop this client's request
	HTTP        *Request        `json:"http"`        // make a request
	StartStream *Request        `json:"startStream"` // make a request whose body is an event stream

	// With Open.
	Path          string            `json:"path"` // "/reference" if empty
	Query         map[string]string `json:"query"`
	Negotiate     bool              `json:"negotiate"`
	ID            string            `json:"id"`
	Handshake     json.RawMessage   `json:"handshake"` // absent: JSON; null: none
	ShowHandshake bool              `json:"showHandshake"`
	Identify      bool              `json:"identify"`
	KeepAcks      bool              `json:"keepAcks"`
	KeepPings     bool              `json:"keepPings"` // with StartStream too

	// With Send.
	Client          string `json:"client"` // "a" if empty
	Together        bool   `json:"together"`
	Raw             bool   `json:"raw"`
	Hex             bool   `json:"hex"`
	MessagePack     bool   `json:"mp"`
	PackedInOneText bool   `json:"mpTogether"`

	// With HTTP and StartStream.
	Capture      string `json:"capture"`
	Timed        int    `json:"timed"`
	PackedAnswer bool   `json:"mpAnswer"`
	Background   string `json:"background"`
	As           string `json:"as"` // "stream" if empty

	// With Open an object, the request's headers; with HTTP and StartStream a list, those of the
	// answer that are reported.
	Headers json.RawMessage `json:"headers"`

	// How the outcome is taken.
	Wait      int    `json:"wait"`  // at least so long
	Quiet     int    `json:"quiet"` // then until nothing came for so long
	Max       int    `json:"max"`   // at most so long
	Unordered bool   `json:"unordered"`
	Mask      string `json:"mask"`
}

// Request is an HTTP request.
type Request struct {
	Method      string            `json:"method"`
	Path        string            `json:"path"`
	Headers     map[string]string `json:"headers"`
	Body        *string           `json:"body"`
	MessagePack []json.RawMessage `json:"mp"` // the messages of the body, in place of Body
}

// Load reads the scenarios of a file. What it does not understand is an error: a step that
// is played in part proves nothing.
func Load(path string) ([]Scenario, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("load scenarios: %w", err)
	}
	scenarios, err := parse(text)
	if err != nil {
		return nil, fmt.Errorf("load scenarios: %s: %w", path, err)
	}
	return scenarios, nil
}

func parse(text []byte) ([]Scenario, error) {
	var scenarios []Scenario
	if err := strict(text, &scenarios); err != nil {
		return nil, err
	}
	if len(scenarios) == 0 {
		return nil, errors.New("no scenarios")
	}
	for _, s := range scenarios {
		if s.Name == "" || len(s.Steps) == 0 {
			return nil, fmt.Errorf("scenario %q: a scenario has a name and steps", s.Name)
		}
	}
	return scenarios, nil
}

// UnmarshalJSON keeps the action's text beside the action.
func (s *Step) UnmarshalJSON(text []byte) error {
	type plain Step // without this method
	if err := strict(text, (*plain)(s)); err != nil {
		return err
	}
	var raw struct{ Do json.RawMessage }
	if err := json.Unmarshal(text, &raw); err != nil {
		return err
	}
	s.done = marshal(raw.Do)
	if err := s.Do.check(); err != nil {
		return fmt.Errorf("%w: %s", err, s.done)
	}
	return nil
}

// check finds instructions that would be passed over.
func (a *Action) check() error {
	things := 0
	for _, is := range []bool{a.Open != "", a.Send != nil, a.Close != "", a.Kill != "", a.Abort != "", a.HTTP != nil, a.StartStream != nil} {
		if is {
			things++
		}
	}
	request := a.HTTP != nil || a.StartStream != nil
	switch {
	case things > 1:
		return errors.New("a step does one thing")
	case things == 0 && a.Wait == 0:
		return errors.New("a step does something")
	case a.opens() && a.Open == "", a.sends() && a.Send == nil, a.requests() && a.HTTP == nil:
		return errors.New("a key that belongs to another action")
	case a.As != "" && a.StartStream == nil, a.Headers != nil && a.Open == "" && !request,
		a.KeepPings && a.Open == "" && a.StartStream == nil:
		return errors.New("a key that belongs to another action")
	case a.Background != "" && (a.Capture != "" || a.Timed != 0):
		return errors.New("what is captured or timed is not awaited in the background")
	case a.StartStream != nil && (a.StartStream.Body != nil || a.StartStream.MessagePack != nil || a.StartStream.Method != ""):
		return errors.New("an event stream is a GET")
	}
	return nil
}

// opens says whether there are keys for Open.
func (a *Action) opens() bool {
	return a.Path != "" || a.Query != nil || a.Negotiate || a.ID != "" || a.Handshake != nil || a.ShowHandshake || a.Identify || a.KeepAcks
}

// sends says whether there are keys for Send.
func (a *Action) sends() bool {
	return a.Client != "" || a.Together || a.Raw || a.Hex || a.MessagePack || a.PackedInOneText
}

// requests says whether there are keys for HTTP.
func (a *Action) requests() bool {
	return a.Capture != "" || a.Timed != 0 || a.PackedAnswer || a.Background != ""
}

const (
	usualQuiet  = 150 * time.Millisecond
	unseenQuiet = 400 * time.Millisecond
)

// quiet is how long nothing may come before the step is over.
func (a *Action) quiet() time.Duration {
	switch {
	case a.Quiet != 0:
		return milliseconds(a.Quiet)
	case a.Close != "", a.Kill != "", a.Abort != "", a.Background != "":
		return unseenQuiet // nobody is told that the server has noticed
	}
	return usualQuiet
}

func milliseconds(n int) time.Duration { return time.Duration(n) * time.Millisecond }

// strict decodes one JSON value and minds keys that v has no place for.
func strict(text []byte, v any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return err
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("more than one JSON value")
	}
	return nil
}
