package client

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
)

// poster sends what the client has to say over the transports that only listen
// (protocol §1.3).
type poster struct {
	client *Client
	at     *url.URL
	token  string
}

func (p *poster) write(ctx context.Context, records []byte) error {
	response, body, err := p.client.ask(ctx, http.MethodPost, p.at, p.token, records)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusOK {
		return refusal(anAgreement, response, body)
	}
	return nil
}

// events is a stream of server-sent events (protocol §3).
type events struct {
	poster
	body   io.ReadCloser
	lines  *bufio.Reader
	ending context.CancelFunc
}

func (c *Client) openEvents(life context.Context, o *Offer) (link, error) {
	at := o.endpoint()
	ctx, cancel := context.WithCancel(life)
	r, err := c.newRequest(ctx, http.MethodGet, at, o.token, nil)
	if err != nil {
		cancel()
		return nil, err
	}
	r.Header.Set("Accept", "text/event-stream")
	response, err := c.do(r)
	if err != nil {
		cancel()
		return nil, err
	}
	if response.StatusCode != http.StatusOK || contentType(response.Header) != "text/event-stream" {
		defer cancel()
		return nil, refused(aStream, response)
	}
	return &events{poster{c, at, o.token}, response.Body, bufio.NewReader(response.Body), cancel}, nil
}

// read returns the data of the next event that has some.
func (e *events) read() (data []byte, err error) {
	for begun := false; ; {
		line, err := e.line()
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrEnded, err)
		}
		switch {
		case len(line) == 0 && begun && len(data) > 0:
			return data, nil
		case len(line) == 0:
			begun, data = false, nil
		case bytes.HasPrefix(line, []byte("data:")):
			if begun {
				data = append(data, '\n')
			}
			begun = true
			data = append(data, bytes.TrimPrefix(line[len("data:"):], []byte(" "))...)
		}
	}
}

// line is the next line without its end.
func (e *events) line() (line []byte, err error) {
	for {
		piece, err := e.lines.ReadSlice('\n')
		line = append(line, piece...)
		switch {
		case err == nil:
			return bytes.TrimRight(line, "\r\n"), nil
		case err != bufio.ErrBufferFull:
			return nil, err
		case len(line) > maxRecord:
			return nil, fmt.Errorf("an event of more than %d bytes", maxRecord)
		}
	}
}

// leave drops the stream: there is no other way to tell the server.
func (e *events) leave(context.Context) error {
	e.ending()
	return nil
}

func (e *events) drop() {
	e.ending()
	e.body.Close()
}
