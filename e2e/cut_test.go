package e2e

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
)

// A manner is how a connection is cut.
type manner string

const (
	ended     manner = "ended"     // both sides get a FIN, as when a process ends
	reset     manner = "reset"     // both sides get an RST, as from a restarted router
	unnoticed manner = "unnoticed" // the client gets an RST, the server nothing, as when a phone changes networks
)

// cutter is a TCP proxy whose connections are cut: all that live, when told
// to; each WebSocket after as many bytes as planned for it. Client programs
// command it over HTTP and are answered when it is done:
//
//	POST /cut?how=MANNER[&hold=true]   cuts; with hold, new connections wait
//	POST /release                      lets them pass
type cutter struct {
	url, controlURL string

	target  string // host:port
	front   net.Listener
	running sync.WaitGroup

	mu      sync.Mutex
	pairs   map[*pair]struct{}
	plan    []cut         // one for each WebSocket to come
	held    chan struct{} // closed to let new connections pass
	stopped bool
}

// cut is one of a plan: how, and after how many bytes that follow the upgrade.
type cut struct {
	how   manner
	after int64
}

// startCutter proxies to the server at url until the test ends.
func startCutter(t *testing.T, url string, plan ...cut) *cutter {
	t.Helper()
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	open := make(chan struct{})
	close(open)
	scheme, target, _ := strings.Cut(url, "://")
	c := &cutter{
		url: scheme + "://" + front.Addr().String(), target: target,
		front: front, pairs: make(map[*pair]struct{}), plan: plan, held: open,
	}
	routes := http.NewServeMux()
	routes.HandleFunc("POST /cut", c.serveCut)
	routes.HandleFunc("POST /release", func(http.ResponseWriter, *http.Request) { c.release() })
	control := httptest.NewServer(routes)
	c.controlURL = control.URL
	c.running.Go(c.accept)
	t.Cleanup(func() {
		control.Close()
		c.stop()
	})
	return c
}

// opaque says that what passes is not for the cutter to read.
func (c *cutter) opaque() bool { return strings.HasPrefix(c.url, "https://") }

func (c *cutter) stop() {
	c.front.Close()
	c.release()
	c.mu.Lock()
	c.stopped = true
	for p := range c.pairs {
		p.close()
	}
	c.mu.Unlock()
	c.running.Wait()
}

func (c *cutter) serveCut(w http.ResponseWriter, r *http.Request) {
	how := manner(r.FormValue("how"))
	if how != ended && how != reset && how != unnoticed {
		http.Error(w, fmt.Sprintf("there is no manner %q", how), http.StatusBadRequest)
		return
	}
	if r.FormValue("hold") == "true" {
		c.hold()
	}
	if c.cutAll(how) == 0 {
		http.Error(w, "there is nothing to cut: connect first", http.StatusConflict)
	}
}

// cutAll cuts every connection that lives, and returns how many those were.
func (c *cutter) cutAll(how manner) (n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for p := range c.pairs {
		if p.cut(how) {
			n++
		}
	}
	return n
}

// hold keeps new connections waiting, once they are accepted, until release.
func (c *cutter) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.held = make(chan struct{})
}

func (c *cutter) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	select {
	case <-c.held:
	default:
		close(c.held)
	}
}

// planned is how many cuts of the plan have not been begun.
func (c *cutter) planned() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.plan)
}

// next takes a cut from the plan.
func (c *cutter) next() (next cut, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.plan) == 0 {
		return cut{}, false
	}
	next, c.plan = c.plan[0], c.plan[1:]
	return next, true
}

func (c *cutter) accept() {
	for {
		client, err := c.front.Accept()
		if err != nil {
			return // stopped
		}
		c.running.Go(func() { c.serve(client.(*net.TCPConn)) })
	}
}

func (c *cutter) serve(client *net.TCPConn) {
	c.mu.Lock()
	held := c.held
	c.mu.Unlock()
	<-held
	server, err := net.Dial("tcp", c.target)
	if err != nil {
		client.Close()
		return
	}
	p := &pair{client: client, server: server.(*net.TCPConn), next: c.next}
	defer p.close()
	c.mu.Lock()
	c.pairs[p] = struct{}{}
	if c.stopped {
		p.close()
	}
	c.mu.Unlock()
	defer func() {
		c.mu.Lock()
		delete(c.pairs, p)
		c.mu.Unlock()
	}()
	var copying sync.WaitGroup
	copying.Go(func() { p.copy(p.server, p.client) })
	copying.Go(func() {
		if c.opaque() || p.copyHead() {
			p.copy(p.client, p.server)
		}
	})
	copying.Wait()
}

// pair is a client's connection and the one to the server that continues it.
type pair struct {
	client, server *net.TCPConn
	next           func() (cut, bool) // from the plan

	mu     sync.Mutex // serialises cuts
	isCut  atomic.Bool
	limit  atomic.Pointer[cut] // once it is a WebSocket for which one is planned
	passed atomic.Int64        // bytes in both directions since limit is set
}

func (p *pair) close() {
	p.client.Close()
	p.server.Close()
}

// cut ends the connection, and says whether there was something to cut. After
// an unnoticed or a gentle end the sides that are still open are read, by copy,
// until their peers close them.
func (p *pair) cut(how manner) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.isCut.Swap(true) {
		return false
	}
	switch how {
	case ended:
		p.server.CloseWrite()
		p.client.CloseWrite()
	case reset:
		p.server.SetLinger(0)
		p.client.SetLinger(0)
		p.close()
	case unnoticed:
		p.client.SetLinger(0)
		p.client.Close()
	}
	return true
}

// copyHead passes on the first response's head, and says whether it came. If
// it opens a WebSocket, that is counted from here on.
func (p *pair) copyHead() bool {
	var head bytes.Buffer
	var b [1]byte // so as to leave what follows the head where it is
	for !bytes.HasSuffix(head.Bytes(), []byte("\r\n\r\n")) {
		if _, err := p.server.Read(b[:]); err != nil {
			p.lost(p.client, err)
			return false
		}
		head.Write(b[:])
	}
	if bytes.HasPrefix(head.Bytes(), []byte("HTTP/1.1 101 ")) {
		if next, ok := p.next(); ok {
			p.limit.Store(&next)
		}
	}
	_, err := p.client.Write(head.Bytes())
	return err == nil
}

// copy passes on what comes from one side until it ends.
func (p *pair) copy(to, from *net.TCPConn) {
	buffer := make([]byte, 4096)
	for {
		n, err := from.Read(buffer)
		if passing := p.spend(n); passing > 0 && !p.isCut.Load() {
			to.Write(buffer[:passing]) // if it fails, reading from to does too
		}
		if limit := p.limit.Load(); limit != nil && p.passed.Load() >= limit.after {
			p.cut(limit.how)
		}
		if err != nil {
			p.lost(to, err)
			return
		}
	}
}

// spend returns how many of n bytes may pass before the planned cut.
func (p *pair) spend(n int) int {
	limit := p.limit.Load()
	if limit == nil {
		return n
	}
	over := p.passed.Add(int64(n)) - limit.after
	return int(max(0, min(int64(n), int64(n)-over)))
}

// lost tells one side what has happened to the other, unless it was cut.
func (p *pair) lost(to *net.TCPConn, err error) {
	switch {
	case p.isCut.Load():
	case errors.Is(err, io.EOF):
		to.CloseWrite()
	default:
		p.close()
	}
}

// A cutter in front of a server that opens something like a WebSocket and
// then repeats what comes.
func TestCutter(t *testing.T) {
	repeats := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n\r\n")
		io.Copy(conn, buffered)
	}))
	defer repeats.Close()
	for _, test := range []struct {
		name string
		plan []cut
		how  manner // if there is no plan
		want error  // of reading
	}{
		{"planned end", []cut{{ended, 15}}, "", io.EOF},
		{"planned reset", []cut{{reset, 15}}, "", syscall.ECONNRESET},
		{"end on command", nil, ended, io.EOF},
		{"reset on command", nil, reset, syscall.ECONNRESET},
		{"unnoticed on command", nil, unnoticed, syscall.ECONNRESET},
	} {
		t.Run(test.name, func(t *testing.T) {
			c := startCutter(t, repeats.URL, test.plan...)
			conn, err := net.Dial("tcp", c.front.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close()
			io.WriteString(conn, "GET / HTTP/1.1\r\nHost: here\r\n\r\n")
			head := make([]byte, len("HTTP/1.1 101 Switching Protocols\r\n\r\n"))
			if _, err := io.ReadFull(conn, head); err != nil {
				t.Fatal(err)
			}
			io.WriteString(conn, "0123456789")
			repeated := make([]byte, 10)
			n, err := io.ReadFull(conn, repeated[:10-5*len(test.plan)])
			if err != nil {
				t.Fatalf("%v after %d bytes", err, n)
			}
			if test.plan == nil {
				c.command(t, "/cut?how="+string(test.how), http.StatusOK)
				c.command(t, "/cut?how="+string(test.how), http.StatusConflict)
			}
			if n, err := conn.Read(repeated); n != 0 || !errors.Is(err, test.want) {
				t.Errorf("then came %d bytes and %v, want %v", n, err, test.want)
			}
			if c.planned() != 0 {
				t.Error("the planned cut is still to come")
			}
		})
	}
}

func (c *cutter) command(t *testing.T, path string, status int) {
	t.Helper()
	answer, err := http.Post(c.controlURL+path, "", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode != status {
		t.Errorf("%s is answered %s, want %d", path, answer.Status, status)
	}
}
