package replay

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"strings"
	"time"
)

// A report is what is told of a response: a JSON object whose members stand in the order in
// which transcripts have them, so that masks match.
type report []member

type member struct {
	name  string
	value any
}

func (r report) String() string {
	members := make([]string, len(r))
	for i, m := range r {
		members[i] = marshal(m.name) + ":" + marshal(m.value)
	}
	return "{" + strings.Join(members, ",") + "}"
}

// reported are the names of the headers that are told.
func (a *Action) reported(usual ...string) (names []string, err error) {
	if a.Headers == nil {
		return usual, nil
	}
	if err := json.Unmarshal(a.Headers, &names); err != nil {
		return nil, fmt.Errorf("headers: %w", err)
	}
	return names, nil
}

// addHeaders tells those of the named headers that are there.
func (r report) addHeaders(response *http.Response, names []string) report {
	for _, name := range names {
		values := response.Header.Values(name)
		if strings.EqualFold(name, "Transfer-Encoding") {
			values = response.TransferEncoding
		}
		if len(values) > 0 {
			r = append(r, member{name, strings.Join(values, ", ")})
		}
	}
	return r
}

// newRequest fills the names in.
func (p *player) newRequest(ctx context.Context, r *Request) (*http.Request, error) {
	path, err := p.names.fill(r.Path)
	if err != nil {
		return nil, err
	}
	body, err := p.body(r)
	if err != nil {
		return nil, err
	}
	request, err := http.NewRequestWithContext(ctx, r.Method, p.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range r.Headers {
		request.Header.Set(name, value)
	}
	return request, nil
}

func (p *player) body(r *Request) ([]byte, error) {
	if r.MessagePack != nil {
		text, err := p.names.fill(marshal(r.MessagePack))
		if err != nil {
			return nil, err
		}
		var messages []json.RawMessage
		if err := json.Unmarshal([]byte(text), &messages); err != nil {
			return nil, err
		}
		return pack(messages)
	}
	if r.Body == nil {
		return nil, nil
	}
	body, err := p.names.fill(*r.Body)
	return []byte(body), err
}

// request makes a request and waits for its answer.
func (p *player) request(a *Action) (json.RawMessage, error) {
	ctx, cancel := context.WithTimeout(context.Background(), p.patience)
	defer cancel()
	request, err := p.newRequest(ctx, a.HTTP)
	if err != nil {
		return nil, err
	}
	started := time.Now()
	body, told, err := p.exchange(a, request)
	if err != nil {
		return nil, err
	}
	if a.Timed != 0 {
		waited := "less"
		if time.Since(started) > milliseconds(a.Timed) {
			waited = "at least"
		}
		told = append(told, member{"waited", waited})
	}
	if a.Capture != "" {
		p.learnConnection(a.Capture, body) // an answer that is no offer is told, and not the one wanted
	} else {
		p.learnAsks("http", a.frames(body))
	}
	return json.RawMessage(p.names.show(told.String())), nil
}

// frames are the messages in a body.
func (a *Action) frames(body []byte) []frame {
	if a.PackedAnswer {
		return unpack(body)
	}
	return records(string(body))
}

// exchange makes a request and gives the body of the answer and what is told of both.
func (p *player) exchange(a *Action, request *http.Request) ([]byte, report, error) {
	headers, err := a.reported("content-type")
	if err != nil {
		return nil, nil, err
	}
	response, err := p.http.Do(request)
	if err != nil {
		return nil, nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, nil, err
	}
	told := report{{"status", response.StatusCode}, {"body", string(body)}}
	if a.PackedAnswer {
		list := []string{}
		for _, f := range unpack(body) {
			list = append(list, f.String())
		}
		told[1].value = list
	}
	return body, told.addHeaders(response, headers), nil
}

// background makes a request whose answer is a frame of a client. It returns when the
// request has been written.
func (p *player) background(a *Action) error {
	c := p.newClient(a.Background)
	ctx, cancel := context.WithCancel(context.Background())
	c.drop = cancel
	written := make(chan struct{})
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{
		WroteRequest: func(httptrace.WroteRequestInfo) { close(written) },
	})
	request, err := p.newRequest(ctx, a.HTTP)
	if err != nil {
		return err
	}
	ended := make(chan struct{})
	p.running.Go(func() {
		defer close(ended)
		if _, told, err := p.exchange(a, request); err == nil {
			c.add(frame{answer, told.String()})
		} else {
			c.add(frame{kind: failed})
		}
	})
	select {
	case <-written:
	case <-ended:
	}
	return nil
}

// startStream makes a request whose body keeps coming, and waits for the head of the answer.
func (p *player) startStream(a *Action) (json.RawMessage, error) {
	name := a.As
	if name == "" {
		name = "stream"
	}
	c := p.newClient(name)
	c.keepPings = a.KeepPings
	headers, err := a.reported("content-type", "cache-control", "content-encoding", "x-accel-buffering")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	c.drop = cancel
	defer time.AfterFunc(p.patience, cancel).Stop()
	request, err := p.newRequest(ctx, a.StartStream)
	if err != nil {
		return nil, err
	}
	response, err := p.http.Do(request)
	if err != nil {
		return nil, err
	}
	p.running.Go(func() { c.readStream(response.Body) })
	return json.RawMessage(report{{"status", response.StatusCode}}.addHeaders(response, headers).String()), nil
}

// readStream takes an event stream until it ends.
func (c *client) readStream(body io.ReadCloser) {
	defer body.Close()
	piece := make([]byte, 4096)
	for {
		n, err := body.Read(piece)
		if n > 0 {
			c.add(frame{data, string(piece[:n])})
		}
		if err != nil {
			c.finish(`{"end":true}`)
			return
		}
	}
}

// abort drops a request.
func (p *player) abort(name string) error {
	c := p.clients[name]
	if c == nil || c.drop == nil {
		return fmt.Errorf("there is no request of %q", name)
	}
	c.drop()
	return nil
}
