package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"time"
)

// polls is a connection that is asked again and again (protocol §4).
type polls struct {
	poster
	polling context.Context // ends when nothing more is to be asked
	ending  context.CancelFunc
	atMost  time.Duration
}

func (c *Client) openPolls(life context.Context, o *Offer) (link, error) {
	p := &polls{poster: poster{c, o.endpoint(), o.token}, atMost: c.options.PollTimeout}
	p.polling, p.ending = context.WithCancel(life)
	first, err := p.poll()
	if err == nil && len(first) > 0 {
		err = fmt.Errorf("the first poll is answered %.100q instead of nothing", first)
	}
	if err != nil {
		p.ending()
		return nil, err
	}
	return p, nil
}

func (p *polls) read() ([]byte, error) {
	for {
		if records, err := p.poll(); err != nil || len(records) > 0 {
			return records, err
		}
	}
}

// poll asks once. Nothing is an answer, too.
func (p *polls) poll() ([]byte, error) {
	ctx, cancel := context.WithTimeout(p.polling, p.atMost)
	defer cancel()
	r, err := p.client.newRequest(ctx, http.MethodGet, p.at, p.token, nil)
	if err != nil {
		return nil, err
	}
	response, err := p.client.do(r)
	if err != nil {
		return nil, p.unlessLate(ctx, err)
	}
	switch {
	case response.StatusCode == http.StatusNoContent:
		response.Body.Close()
		return nil, ErrEnded
	case response.StatusCode != http.StatusOK || contentType(response.Header) == "text/html":
		return nil, refused(aPoll, response)
	}
	defer response.Body.Close()
	records, err := io.ReadAll(io.LimitReader(response.Body, maxRecord))
	if err != nil {
		return nil, p.unlessLate(ctx, err)
	}
	return records, nil
}

// unlessLate is an error, but for that of a poll that has taken its time: it may be
// asked again.
func (p *polls) unlessLate(ctx context.Context, err error) error {
	if ctx.Err() != nil && p.polling.Err() == nil {
		return nil
	}
	return err
}

// leave ends the poll and the connection. It may have ended by itself.
func (p *polls) leave(ctx context.Context) error {
	p.ending()
	_, _, err := p.client.ask(ctx, http.MethodDelete, p.at, p.token, nil)
	return err
}

func (p *polls) drop() { p.ending() }
