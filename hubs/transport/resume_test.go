package transport

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-kit/log"

	"signalrd/hubs/protocol"
)

// comeback is a resumable connection in memory. Time is the test's.
type comeback struct {
	*testing.T
	h       *Handler
	e       *entry
	conn    Resumable
	client  *rawClient    // on the newest socket
	resumed chan struct{} // gets a value for each call of resumed
	hold    chan struct{} // resumed takes a value from it before it returns; nil: it does not
}

// hijackable is a response whose connection can be taken over.
type hijackable struct {
	*httptest.ResponseRecorder
	conn     net.Conn
	hijacked bool
}

func (w *hijackable) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	w.hijacked = true
	return w.conn, bufio.NewReadWriter(bufio.NewReader(w.conn), bufio.NewWriter(w.conn)), nil
}

// startComeback opens a connection that may be resumed as soon as it is
// allowed.
func startComeback(t *testing.T, options *Options) *comeback {
	conns := make(chan Conn, 1)
	b := &comeback{T: t, h: New(func(c Conn) { conns <- c }, options), resumed: make(chan struct{}, 100)}
	var err error
	if b.e, err = b.h.registry.negotiate(guest{}, true, true, time.Minute); err != nil {
		t.Fatal(err)
	}
	b.connect()
	b.conn = (<-conns).(Resumable)
	t.Cleanup(func() {
		if err := b.h.Close(); err != nil {
			t.Error(err)
		}
	})
	return b
}

// startAllowed is startComeback and AllowResume. resumed calls Resume.
func startAllowed(t *testing.T, options *Options) *comeback {
	b := startComeback(t, options)
	b.allow()
	return b
}

func (b *comeback) allow() {
	b.conn.AllowResume(func() {
		b.resumed <- struct{}{}
		b.conn.Resume()
		if b.hold != nil {
			<-b.hold
		}
	})
}

// attempt is a request for a WebSocket.
type attempt struct {
	client *rawClient
	answer chan *http.Response // gets the answer
	cancel context.CancelFunc
}

// upgradeRequest has some of the usual header replaced.
func (b *comeback) upgradeRequest(header ...string) *http.Request {
	r := httptest.NewRequest("GET", "/hub?id="+b.e.token, nil)
	for i, all := 0, upgradeHeader(header...); i < len(all); i += 2 {
		r.Header.Set(all[i], all[i+1])
	}
	return r
}

// begin asks for a WebSocket with the connection's token.
func (b *comeback) begin(header ...string) *attempt {
	server, client := net.Pipe()
	b.Cleanup(func() { client.Close() })
	r := b.upgradeRequest(header...)
	ctx, cancel := context.WithCancel(b.Context())
	w := &hijackable{ResponseRecorder: httptest.NewRecorder(), conn: server}
	a := &attempt{client: &rawClient{client, b, bufio.NewReader(client)}, answer: make(chan *http.Response, 1), cancel: cancel}
	go func() {
		b.h.ServeHTTP(w, r.WithContext(ctx))
		if !w.hijacked {
			server.Close()
			a.answer <- w.Result()
		}
	}()
	go func() {
		if response, err := http.ReadResponse(a.client.reader, nil); err == nil {
			a.answer <- response
		}
	}()
	return a
}

// connect has the client come on a new socket.
func (b *comeback) connect() {
	b.Helper()
	a := b.begin()
	if response := <-a.answer; response.StatusCode != 101 {
		b.Fatalf("the client came and was answered %d", response.StatusCode)
	}
	b.client = a.client
}

// comeBack does that and awaits what the hub is told.
func (b *comeback) comeBack() {
	b.Helper()
	b.connect()
	<-b.resumed
}

// startLogged also returns what is logged.
func startLogged(t *testing.T) (*comeback, *strings.Builder) {
	var logged strings.Builder
	return startComeback(t, &Options{Logger: log.NewLogfmtLogger(log.NewSyncWriter(&logged))}), &logged
}

// refused expects that the client cannot come.
func (b *comeback) refused(status int, contentType, body string, header ...string) {
	b.Helper()
	b.begin(header...).expectRefusal(b.T, status, contentType, body)
}

func (a *attempt) expectRefusal(t *testing.T, status int, contentType, body string) {
	t.Helper()
	response := <-a.answer
	text, _ := io.ReadAll(response.Body)
	if response.StatusCode != status || strings.Join(response.Header["Content-Type"], "|") != contentType || string(text) != body {
		t.Errorf("the client came and was answered %d %q %q", response.StatusCode, response.Header["Content-Type"], text)
	}
}

// expectReceived expects bytes from one Receive.
func (b *comeback) expectReceived(want string) {
	b.Helper()
	if got, err := b.conn.Receive(nil); string(got) != want || err != nil {
		b.Errorf("Receive: %q, %v, want %q", got, err, want)
	}
}

// expectFailure expects no bytes and an error from one Receive.
func (b *comeback) expectFailure(want error) {
	b.Helper()
	if got, err := b.conn.Receive([]byte("kept")); string(got) != "kept" || !errors.Is(err, want) {
		b.Errorf("Receive: %q, %v, want %v", got, err, want)
	}
}

// expectSent sends while the client reads.
func (b *comeback) expectSent(op opcode, records string) {
	b.Helper()
	sent := make(chan error, 1)
	go func() { sent <- b.conn.Send([]byte(records)) }()
	b.client.expect(op, records)
	if err := <-sent; err != nil {
		b.Error(err)
	}
}

func (b *comeback) expectAway() {
	b.Helper()
	if err := b.conn.Send([]byte("x")); !errors.Is(err, ErrAway) {
		b.Errorf("Send: %v, want %v", err, ErrAway)
	}
}

// write has the client send; net.Pipe hands it over when the server reads.
func (b *comeback) write(wire []byte) {
	client := b.client
	go client.Write(wire)
}

func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startAllowed(t, nil)
		id := b.conn.ID()
		b.conn.SetFormat(protocol.Binary)
		b.expectSent(opBinary, "before")
		b.write(clientFrame(0x81, "half a record in half a frame")[:16])
		time.AfterFunc(time.Second, func() { b.client.Close() })
		b.expectReceived("half a rec")

		first := b.conn.Request()
		for range 2 {
			b.expectAway()
		}
		time.Sleep(14 * time.Second)
		b.comeBack()
		if b.conn.Request() == first || b.conn.Request().URL.String() != first.URL.String() || b.conn.Request().Context().Err() != nil {
			t.Error("Request is not the latest")
		}
		b.expectFailure(ErrResumed)
		b.write(join(clientFrame(0x89, "ping"), clientFrame(0x81, "again")))
		ponged := make(chan struct{})
		go func() {
			b.client.expect(opPong, "ping")
			close(ponged)
		}()
		b.expectReceived("again")
		<-ponged
		b.expectSent(opBinary, "after")
		if b.conn.ID() != id {
			t.Error("the id has changed")
		}
		time.Sleep(time.Minute) // the time to come back is over, but the client is here
		b.write(clientFrame(0x81, "still"))
		b.expectReceived("still")
		b.conn.Abort()
	})
}

// TestReceivedBeforeALossComesFirst loses a socket whose bytes nobody has
// taken yet, and the next one as well.
func TestReceivedBeforeALossComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startAllowed(t, nil)
		b.conn.(*resumable).reading.source.early = clientFrame(0x81, "early")
		b.client.Close()
		b.comeBack()
		b.comeBack()
		b.write(clientFrame(0x81, "new"))
		b.expectReceived("early")
		b.expectFailure(ErrResumed)
		b.expectReceived("new")
		b.conn.Abort()
	})
}

// TestNothingIsReceivedBeforeResumedReturns has resumed take its time.
func TestNothingIsReceivedBeforeResumedReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startAllowed(t, nil)
		b.hold = make(chan struct{})
		b.client.Close()
		b.comeBack()
		b.write(clientFrame(0x81, "new"))
		told := make(chan struct{})
		go func() {
			b.expectFailure(ErrResumed)
			close(told)
		}()
		synctest.Wait()
		select {
		case <-told:
			t.Error("Receive did not wait for resumed")
		default:
		}
		b.hold <- struct{}{}
		<-told
		b.expectReceived("new")
		b.conn.Abort()
	})
}

// TestSendAwaitsResume has a hub that does not call Resume at once.
func TestSendAwaitsResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startComeback(t, nil)
		b.conn.AllowResume(func() { b.resumed <- struct{}{} })
		b.client.Close()
		b.expectAway()
		b.comeBack()
		b.expectAway()
		b.conn.Resume()
		b.expectSent(opText, "now")

		b.client.Close()
		b.expectAway()
		b.conn.Resume() // there is no new socket
		b.expectAway()
		b.comeBack()
		b.client.Close()
		synctest.Wait()
		b.conn.Resume() // the new socket is lost already
		b.expectAway()
		b.conn.Abort()
	})
}

func TestSendTimeoutIsALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startAllowed(t, nil)
		began := time.Now()
		err := b.conn.Send([]byte("nobody reads"))
		if !errors.Is(err, ErrAway) || !isTimeout(err) || !strings.Contains(err.Error(), "did not take it within 10s") || time.Since(began) != 10*time.Second {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		b.comeBack()
		b.expectFailure(ErrResumed)
		b.expectSent(opText, "now somebody does")
		b.conn.Abort()
	})
}

// TestPongTimeoutIsALoss has a client that sends a ping and reads nothing.
func TestPongTimeoutIsALoss(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startAllowed(t, nil)
		b.write(clientFrame(0x89, "hello"))
		time.AfterFunc(11*time.Second, b.connect)
		b.expectFailure(ErrResumed)
		b.conn.Abort()
	})
}

// TestNotAllowedYet is a connection before its handshake: it lives as long as
// its socket (protocol §9).
func TestNotAllowedYet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startComeback(t, nil)
		b.refused(409, plain, "")
		b.write(clientFrame(0x81, "not disturbed"))
		b.expectReceived("not disturbed")
		b.client.Close()
		b.expectFailure(io.ErrUnexpectedEOF)
		b.allow() // too late
		b.refused(409, plain, "")
		b.expectFailure(io.ErrUnexpectedEOF)
		b.conn.Abort()

		b = startComeback(t, nil)
		b.client.Close()
		if err := b.conn.Send([]byte("x")); err == nil || errors.Is(err, ErrAway) {
			t.Error(err)
		}
		b.refused(404, "", noSuch)
		if err := b.conn.Close(CloseNormal); err != nil {
			t.Errorf("Close after a failed Send: %v", err)
		}
	})
}

func TestNobodyComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := startAllowed(t, nil)
		began := time.Now()
		time.AfterFunc(5*time.Second, func() { b.client.Close() })
		got, err := b.conn.Receive(nil)
		if got != nil || !errors.Is(err, ErrAbsent) || !errors.Is(err, io.EOF) || !strings.Contains(err.Error(), "did not come back within 15s") || time.Since(began) != 20*time.Second {
			t.Errorf("%q, %v after %v", got, err, time.Since(began))
		}
		synctest.Wait()
		b.refused(404, "", noSuch)
		b.expectFailure(io.EOF)
		b.expectAway()
		b.conn.ForbidResume()
		b.expectFailure(io.EOF)
		if live := b.h.registry.live; live != 1 {
			t.Errorf("%d live before Close", live)
		}
		if err := b.conn.Close(CloseNormal); !errors.Is(err, io.ErrUnexpectedEOF) {
			t.Errorf("Close: %v", err)
		}
		if live := b.h.registry.live; live != 0 {
			t.Errorf("%d live after Close", live)
		}
	})
}
