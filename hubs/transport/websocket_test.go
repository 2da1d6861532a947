package transport

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"signalrd/hubs/protocol"
)

// dial connects a client that is not ours.
func (s *testServer) dial(t testing.TB, client *http.Client) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, s.URL+"/hub", &websocket.DialOptions{HTTPClient: client, CompressionMode: websocket.CompressionContextTakeover})
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(-1)
	return c
}

func contextFor(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// echoes has a client's message echoed, in however many messages.
func echoes(t testing.TB, c *websocket.Conn, size int) {
	t.Helper()
	want := strings.Repeat("0123456789abcdef\x1e", size/17+1)[:size]
	failed := make(chan error, 1)
	go func() { failed <- c.Write(contextFor(t), websocket.MessageBinary, []byte(want)) }()
	var got strings.Builder
	for got.Len() < size {
		kind, p, err := c.Read(contextFor(t))
		if err != nil {
			t.Fatal(err)
		}
		if kind != websocket.MessageText {
			t.Fatal("a text format travels in text frames")
		}
		got.Write(p)
	}
	if err := <-failed; err != nil {
		t.Fatal(err)
	}
	if got.String() != want {
		t.Errorf("%d bytes came back changed", size)
	}
}

var messageSizes = []int{1, 10, 11, 125, 126, 4000, 16 << 10, 65535, 65536, 3 << 20}

// servers are the ways to reach a Handler; each reads and writes differently.
var servers = map[string]func(t *testing.T, serve func(Conn), options *Options) (*testServer, *http.Client){
	"TCP": func(t *testing.T, serve func(Conn), options *Options) (*testServer, *http.Client) {
		s := startServer(t, serve, options)
		return s, s.Client()
	},
	"TLS": func(t *testing.T, serve func(Conn), options *Options) (*testServer, *http.Client) {
		s := start(t, New(serve, options), (*httptest.Server).StartTLS)
		return s, s.Client()
	},
	"Unix socket": func(t *testing.T, serve func(Conn), options *Options) (*testServer, *http.Client) {
		path := filepath.Join(t.TempDir(), "socket")
		s := start(t, New(serve, options), func(s *httptest.Server) {
			s.Listener.Close()
			var err error
			if s.Listener, err = net.Listen("unix", path); err != nil {
				t.Fatal(err)
			}
			s.Start()
			s.URL = "http://unix"
		})
		return s, &http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", path)
		}}}
	},
}

func TestEchoWithARealClient(t *testing.T) {
	for name, startOne := range servers {
		t.Run(name, func(t *testing.T) {
			s, httpClient := startOne(t, echo, nil)
			c := s.dial(t, httpClient)
			for _, size := range messageSizes {
				echoes(t, c, size)
			}
			if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
				t.Errorf("client closes first: %v", err)
			}
		})
	}
}

func TestFragmentedMessageFromARealClient(t *testing.T) {
	s := startServer(t, echo, nil)
	c := s.dial(t, s.Client())
	defer c.CloseNow()
	w, err := c.Writer(contextFor(t), websocket.MessageText)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Repeat("fragment", 3000)
	for rest := want; rest != ""; rest = rest[1000:] {
		if _, err := io.WriteString(w, rest[:1000]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	var got string
	for len(got) < len(want) {
		_, p, err := c.Read(contextFor(t))
		if err != nil {
			t.Fatal(err)
		}
		got += string(p)
	}
	if got != want {
		t.Error("changed")
	}
}

func TestPingsOfARealClient(t *testing.T) {
	s := startServer(t, echo, nil)
	c := s.dial(t, s.Client())
	reading := c.CloseRead(context.Background())
	for range 5 {
		if err := c.Ping(contextFor(t)); err != nil {
			t.Fatal(err)
		}
	}
	c.CloseNow()
	<-reading.Done()
}

func TestServerClosesFirst(t *testing.T) {
	for name, startOne := range servers {
		for _, status := range []CloseStatus{CloseNormal, CloseInternalError} {
			t.Run(name, func(t *testing.T) {
				closed := make(chan error, 1)
				s, httpClient := startOne(t, func(c Conn) {
					if err := c.Send([]byte("last")); err != nil {
						t.Error(err)
					}
					closed <- c.Close(status)
				}, nil)
				c := s.dial(t, httpClient)
				if _, p, err := c.Read(contextFor(t)); err != nil || string(p) != "last" {
					t.Errorf("%q, %v", p, err)
				}
				_, _, err := c.Read(contextFor(t))
				var end websocket.CloseError
				if !errors.As(err, &end) || end.Code != websocket.StatusCode(status) || end.Reason != "" {
					t.Errorf("the client saw %v", err)
				}
				if err := <-closed; err != nil {
					t.Error(err)
				}
			})
		}
	}
}

func TestFormats(t *testing.T) {
	s := startServer(t, func(c Conn) {
		if c.Transport() != WebSockets || !c.Binary() || c.InherentKeepAlive() {
			t.Error("a WebSocket carries bytes and pings")
		}
		c.Send(nil)
		c.Send([]byte("text"))
		c.SetFormat(protocol.Binary)
		c.Send([]byte("bytes"))
		c.SetFormat(protocol.Text)
		c.Send([]byte("text again"))
		c.Close(CloseNormal)
	}, nil)
	client := s.raw(t, "")
	client.expect(opText, "text")
	client.expect(opBinary, "bytes")
	client.expect(opText, "text again")
	client.expect(opClose, "\x03\xe8")
	client.send(clientFrame(0x88, ""))
	client.expectEnd()
}

func TestBytesSentAheadAreKept(t *testing.T) {
	s := startServer(t, echo, nil)
	ahead := join(clientFrame(0x81, "sent "), clientFrame(0x82, "ahead"), clientFrame(0x89, "p"), clientFrame(0x81, "half")[:8])
	client := s.raw(t, "", ahead...)
	client.expect(opPong, "p")
	client.expect(opText, "sent aheadha")
	client.send(clientFrame(0x81, "half")[8:])
	client.expect(opText, "lf")
}

// TestABurstIsOneReceive has everything arrive before the first Receive.
func TestABurstIsOneReceive(t *testing.T) {
	got := make(chan int, 100)
	arrived := make(chan struct{})
	s := startServer(t, func(c Conn) {
		<-arrived
		var err error
		for err == nil {
			var buf []byte
			buf, err = c.Receive(nil)
			if len(buf) > 0 {
				got <- len(buf)
			}
		}
		close(got)
		c.Close(CloseNormal)
	}, nil)
	client := s.raw(t, "")
	for range 400 {
		client.send(clientFrame(0x81, strings.Repeat("x", 500)))
	}
	client.send(clientFrame(0x88, ""))
	time.Sleep(50 * time.Millisecond) // for the system to hand it over
	close(arrived)
	total, calls := 0, 0
	for n := range got {
		total += n
		calls++
		if n > burst+len(chunk{}) {
			t.Errorf("%d bytes in one call", n)
		}
	}
	if total != 400*500 || calls > 8 {
		t.Errorf("%d bytes in %d calls", total, calls)
	}
	client.expect(opClose, "\x03\xe8")
}

func TestViolations(t *testing.T) {
	for _, test := range streams {
		if test.err == "" {
			continue
		}
		t.Run(test.name, func(t *testing.T) {
			failure := make(chan error, 1)
			s := startServer(t, func(c Conn) {
				var err error
				for err == nil {
					_, err = c.Receive(nil)
				}
				failure <- err
				c.Abort()
			}, nil)
			client := s.raw(t, "")
			client.send(test.wire)
			client.expect(opClose, "\x03\xea")
			client.expectEnd()
			if err := <-failure; !errors.Is(err, ErrViolation) || !strings.Contains(err.Error(), test.err) {
				t.Error(err)
			}
		})
	}
}

func TestCloseAfterAViolation(t *testing.T) {
	s := startServer(t, func(c Conn) {
		_, err := c.Receive(nil)
		for range 2 {
			if _, again := c.Receive(nil); err == nil || again != err {
				t.Errorf("%v, then %v", err, again)
			}
		}
		if err := c.Send([]byte("x")); !errors.Is(err, errClosing) {
			t.Error(err)
		}
		if err := c.Close(CloseNormal); err != nil {
			t.Error(err)
		}
	}, nil)
	client := s.raw(t, "")
	client.send(clientFrame(0x83, ""))
	client.expect(opClose, "\x03\xea")
	client.expectEnd()
}

func TestTCPDropIsNoGoodEnd(t *testing.T) {
	failure := make(chan error, 1)
	s := startServer(t, func(c Conn) {
		_, err := c.Receive(nil)
		failure <- err
		c.Abort()
	}, nil)
	s.raw(t, "").Close()
	if err := <-failure; !errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) {
		t.Error(err)
	}
	client := s.raw(t, "")
	client.Conn.(*net.TCPConn).SetLinger(0)
	client.Close()
	if err := <-failure; !errors.Is(err, syscall.ECONNRESET) {
		t.Error(err)
	}
}

func TestDataBeforeTheEndIsDelivered(t *testing.T) {
	s := startServer(t, func(c Conn) {
		buf := []byte("kept ")
		var err error
		for err == nil {
			buf, err = c.Receive(buf)
		}
		if string(buf) != "kept last words" || err != io.EOF {
			t.Errorf("%q, %v", buf, err)
		}
		c.Close(CloseNormal)
	}, nil)
	client := s.raw(t, "")
	client.send(join(clientFrame(0x81, "last words"), clientFrame(0x88, "\x0f\xa0bye"), clientFrame(0x81, "ignored")))
	client.expect(opClose, "\x03\xe8")
}

func TestStopReceiving(t *testing.T) {
	for name, startOne := range servers {
		t.Run(name, func(t *testing.T) {
			closed := make(chan error, 1)
			s, httpClient := startOne(t, func(c Conn) {
				if c.Request().Header.Get("Before") == "" {
					go c.StopReceiving()
				} else {
					c.StopReceiving()
				}
				for range 2 {
					if _, err := c.Receive(nil); err != ErrStopped {
						t.Error(err)
					}
				}
				if err := c.Send([]byte("still here")); err != nil {
					t.Error(err)
				}
				c.StopReceiving()
				closed <- c.Close(CloseNormal)
			}, nil)
			for _, before := range []string{"", "yes"} {
				c, _, err := websocket.Dial(contextFor(t), s.URL+"/hub", &websocket.DialOptions{HTTPClient: httpClient, HTTPHeader: http.Header{"Before": {before}}})
				if err != nil {
					t.Fatal(err)
				}
				if _, p, err := c.Read(contextFor(t)); err != nil || string(p) != "still here" {
					t.Errorf("%q, %v", p, err)
				}
				if _, _, err := c.Read(contextFor(t)); websocket.CloseStatus(err) != websocket.StatusNormalClosure {
					t.Error(err)
				}
				if err := <-closed; err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestStoppingDoesNotCutClosingShort stops while Close waits.
func TestStoppingDoesNotCutClosingShort(t *testing.T) {
	conns := make(chan Conn, 1)
	result := make(chan error, 1)
	s := startServer(t, func(c Conn) {
		conns <- c
		result <- c.Close(CloseNormal)
	}, nil)
	client := s.raw(t, "")
	client.expect(opClose, "\x03\xe8")
	(<-conns).StopReceiving()
	client.send(join(clientFrame(0x81, "too late"), clientFrame(0x89, "no pong"), clientFrame(0x88, "")))
	if err := <-result; err != nil {
		t.Error(err)
	}
	client.expectEnd()
}

func TestSlowReader(t *testing.T) {
	for name, startOne := range servers {
		t.Run(name, func(t *testing.T) {
			const timeout = 100 * time.Millisecond
			result := make(chan error, 1)
			s, httpClient := startOne(t, func(c Conn) {
				var err error
				var took time.Duration
				for err == nil {
					began := time.Now()
					err = c.Send(make([]byte, 1<<20))
					took = time.Since(began)
				}
				if took < timeout || took > 20*timeout {
					t.Errorf("Send took %v", took)
				}
				if again := c.Send([]byte("x")); again == nil {
					t.Error("sending goes on after a failure")
				}
				if _, lost := c.Receive(nil); lost == nil || lost == io.EOF {
					t.Errorf("Receive: %v", lost)
				}
				if late := c.Close(CloseNormal); late != nil {
					t.Errorf("Close: %v", late)
				}
				result <- err
			}, &Options{SendTimeout: timeout})
			c := s.dial(t, httpClient)
			defer c.CloseNow()
			if err := <-result; !isTimeout(err) || !strings.Contains(err.Error(), "did not take it within 100ms") {
				t.Error(err)
			}
		})
	}
}

// TestPingDuringASend sends a ping while the server is stuck in a Send: the
// reader goes on, and the pong follows the message.
func TestPingDuringASend(t *testing.T) {
	const size = 16 << 20
	heard := make(chan string, 1)
	s := startServer(t, func(c Conn) {
		var sending sync.WaitGroup
		sending.Go(func() {
			if err := c.Send(make([]byte, size)); err != nil {
				t.Error(err)
			}
		})
		c.(*webSocket).socket.waitForWriter()
		buf, err := c.Receive(nil)
		if err != nil {
			t.Error(err)
		}
		heard <- string(buf)
		sending.Wait()
		c.Close(CloseNormal)
	}, nil)
	client := s.raw(t, "")
	client.send(join(clientFrame(0x89, "superseded"), clientFrame(0x89, "late"), clientFrame(0x81, "hello")))
	if got := <-heard; got != "hello" {
		t.Errorf("received %q", got)
	}
	if op, payload := client.frame(); op != opText || len(payload) != size {
		t.Errorf("frame %d of %d bytes", op, len(payload))
	}
	client.expect(opPong, "late")
	client.expect(opClose, "\x03\xe8")
	client.send(clientFrame(0x88, ""))
	client.expectEnd()
}

// waitForWriter returns when somebody is writing.
func (s *socket) waitForWriter() {
	for s.writing.TryLock() {
		s.writing.Unlock()
		time.Sleep(time.Millisecond)
	}
}

func TestPingsAndSendsDoNotMix(t *testing.T) {
	t.Run("Send", func(t *testing.T) { pingAndSend(t, Prompt.Send) })
	t.Run("TrySend", func(t *testing.T) { pingAndSend(t, sendPromptly) })
}

func pingAndSend(t *testing.T, send func(c Prompt, message []byte) error) {
	const messages = 300
	s := startServer(t, func(c Conn) {
		var sending sync.WaitGroup
		sending.Go(func() {
			for i := range messages {
				if err := send(c.(Prompt), []byte(strings.Repeat("m", 100*(i%200)+1))); err != nil {
					t.Error(err)
				}
			}
		})
		var err error
		for err == nil {
			_, err = c.Receive(nil)
		}
		sending.Wait()
		c.Close(CloseNormal)
	}, nil)
	client := s.raw(t, "")
	var pinging sync.WaitGroup
	pinging.Go(func() {
		for range messages {
			if _, err := client.Write(clientFrame(0x89, "p")); err != nil {
				t.Error(err)
			}
		}
	})
	got := 0
	for got < messages {
		switch op, payload := client.frame(); {
		case op == opPong && payload == "p":
		case op == opText && payload == strings.Repeat("m", 100*(got%200)+1):
			got++
		default:
			t.Fatalf("frame %d %.20q of %d bytes after %d messages", op, payload, len(payload), got)
		}
	}
	pinging.Wait()
	client.send(clientFrame(0x88, ""))
	for {
		if op, _ := client.frame(); op == opClose {
			break
		}
	}
	client.expectEnd()
}

func TestAbort(t *testing.T) {
	for name, startOne := range servers {
		t.Run(name, func(t *testing.T) {
			s, httpClient := startOne(t, func(c Conn) {
				time.AfterFunc(10*time.Millisecond, c.Abort)
				if _, err := c.Receive(nil); err == nil || err == io.EOF || err == ErrStopped {
					t.Errorf("Receive: %v", err)
				}
				if err := c.Send([]byte("x")); err == nil {
					t.Error("Send after Abort")
				}
				c.Abort()
			}, nil)
			c := s.dial(t, httpClient)
			_, _, err := c.Read(contextFor(t))
			if err == nil || websocket.CloseStatus(err) != -1 {
				t.Errorf("the client saw %v", err)
			}
			if name == "TCP" && !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("no reset but %v", err)
			}
		})
	}
}

// TestTLSDoesNotHoldABurstBack has a frame end where a read does.
func TestTLSDoesNotHoldABurstBack(t *testing.T) {
	s := start(t, New(echo, nil), (*httptest.Server).StartTLS)
	conn, err := tls.Dial("tcp", s.Listener.Addr().String(), s.Client().Transport.(*http.Transport).TLSClientConfig)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	client := newRawClient(t, conn)
	request := "GET /hub HTTP/1.1\r\nHost: test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + sampleKey + "\r\n\r\n"
	client.send([]byte(request))
	if response, err := http.ReadResponse(client.reader, nil); err != nil || response.StatusCode != 101 {
		t.Fatal(response, err)
	}
	for size := range 40 {
		want := strings.Repeat("x", size+1)
		client.send(clientFrame(0x81, want))
		for got := ""; got != want; {
			op, payload := client.frame()
			if got += payload; op != opText || !strings.HasPrefix(want, got) {
				t.Fatalf("frame %d, %q of %q", op, got, want)
			}
		}
	}
}
