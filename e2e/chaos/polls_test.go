package chaos

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"signalrd/hubs/protocol"
)

// negotiated negotiates a connection, and returns its token.
func negotiated(hub string, query ...string) (token string, err error) {
	body, err := fetch(http.MethodPost, hub+"/negotiate?negotiateVersion=1"+strings.Join(query, ""))
	if err != nil {
		return "", err
	}
	var answer struct{ ConnectionToken string }
	if err := json.Unmarshal(body, &answer); err != nil || answer.ConnectionToken == "" {
		return "", fmt.Errorf("negotiating is answered %q (%w)", body, err)
	}
	return answer.ConnectionToken, nil
}

// negotiate negotiates, perhaps one that can be resumed.
func negotiate(hub string, stateful bool) error {
	query := ""
	if stateful {
		query = "&useStatefulReconnect=true"
	}
	_, err := negotiated(hub, query)
	return err
}

// poller polls against the rules: several polls at once.
type poller struct {
	at   string
	http http.Client
	*account
}

// doublePolls has clients poll twice and more at once. Polls give way to later ones, and
// over all of them everything comes once.
func doublePolls(r *run) {
	const pollers, atOnce = 6, 3
	r.must("polls", together(pollers, pollers, func(i int) error {
		s := r.servers[i%len(r.servers)]
		p, err := openPoller(s.hub(), r.traffic.group)
		if err != nil {
			return err
		}
		defer p.http.CloseIdleConnections()
		since := r.traffic.numbers()
		var polling sync.WaitGroup
		var mu sync.Mutex
		var failed error
		over := time.Now().Add(4 * time.Second)
		for range atOnce {
			polling.Go(func() {
				for time.Now().Before(over) {
					if err := p.poll(); err != nil {
						mu.Lock()
						failed = errors.Join(failed, err)
						mu.Unlock()
						return
					}
				}
			})
		}
		polling.Wait()
		return errors.Join(failed, p.check(r.traffic, since), p.remove())
	}))
}

func openPoller(hub, group string) (*poller, error) {
	token, err := negotiated(hub)
	if err != nil {
		return nil, err
	}
	p := &poller{at: hub + "?id=" + token, account: newAccount(), http: http.Client{Transport: &http.Transport{}, Timeout: patience}}
	if err := p.poll(); err != nil {
		return nil, err
	}
	join := `{"type":1,"invocationId":"j","target":"Join","arguments":["` + group + `"]}` + "\x1e"
	if _, err := p.ask(http.MethodPost, hello+join); err != nil {
		return nil, err
	}
	for joined := false; !joined; { // the completion comes behind what it is for
		body, err := p.ask(http.MethodGet, "")
		if err != nil {
			return nil, err
		}
		joined = strings.Contains(body, `"invocationId":"j"`)
		p.takeAll(body)
	}
	return p, nil
}

// ask makes a request. A poll may be answered with nothing, and one that was never its
// turn is refused.
func (p *poller) ask(method, body string) (answer string, err error) {
	request, err := http.NewRequest(method, p.at, strings.NewReader(body))
	if err != nil {
		return "", err
	}
	response, err := p.http.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	switch response.StatusCode {
	case http.StatusOK, http.StatusNoContent, http.StatusConflict, http.StatusAccepted:
		return string(text), err
	}
	return "", fmt.Errorf("%s is answered %s %s", method, response.Status, text)
}

func (p *poller) poll() error {
	body, err := p.ask(http.MethodGet, "")
	p.takeAll(body)
	return err
}

// takeAll takes the texts of the records that a poll has brought.
func (p *poller) takeAll(records string) {
	for record := range strings.SplitSeq(records, "\x1e") {
		var m struct {
			Type      protocol.Type
			Arguments []string
		}
		if record != "" && json.Unmarshal([]byte(record), &m) == nil && m.Type == protocol.Invocation && len(m.Arguments) > 0 {
			p.take(m.Arguments[0])
		}
	}
}

// check looks at what has come, in whatever order: two polls' answers may be read in any.
// What was sent at the very end may still be on its way.
func (p *poller) check(tr *traffic, since map[line]uint32) (err error) {
	for _, s := range tr.from() {
		for _, address := range []string{"all", "group"} {
			l := s.line(address)
			highest := p.highest(l)
			if highest <= since[l] {
				err = errors.Join(err, fmt.Errorf("%s: only up to %d came, and %d were sent before", l, highest, since[l]))
			}
			for _, fault := range p.faults(l, due{since[l] + 1, highest, highest}) {
				if !strings.Contains(fault, "out of order") {
					err = errors.Join(err, errors.New(fault))
				}
			}
		}
	}
	return err
}

func (p *poller) remove() error {
	_, err := p.ask(http.MethodDelete, "")
	return err
}
