package hubtest_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"signalrd/hubs"
	"signalrd/hubs/auth"
	"signalrd/hubs/hubtest"
	"signalrd/hubs/protocol"
	"signalrd/internal/example"
)

// failure is the text with which a test fails.
func failure(test func(t testing.TB)) (text string) {
	defer func() {
		if failed, ok := recover().(example.Failure); ok {
			text = string(failed)
		}
	}()
	t := example.Begin()
	defer t.End()
	test(t)
	return ""
}

// What a test that fails says. In a bubble, so that nothing that is waited for in
// vain takes time.
func TestFailures(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(t testing.TB, ale *hubtest.Client)
		want string
	}{
		{"another argument", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("Tell", "ho")
			ale.Expect("Told", "hi")
		}, `Ale got Told("ho"), want Told("hi")`},
		{"another method", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("Tell", "hi")
			ale.Expect("told", "hi")
		}, `Ale got Told("hi"), want told("hi")`},
		{"another number of arguments", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("Tell", "hi")
			ale.Expect("Told", "hi", hubtest.Any)
		}, `Ale got Told("hi"), want Told("hi", Any)`},
		{"another type", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("Tell", "1")
			ale.Expect("Told", 1)
		}, `Ale got Told("1"), want Told(1)`},
		{"what cannot be expected", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("Tell", "hi")
			ale.Expect("Told", 1i)
		}, "Ale expects Told((0+1i)): write argument 1 of Told: json: unsupported type: complex128"},
		{"nothing comes", func(t testing.TB, ale *hubtest.Client) {
			ale.Expect("Told", "hi")
		}, `Ale got nothing for 10s, want Told("hi")`},
		{"the end comes", func(t testing.TB, ale *hubtest.Client) {
			ale.Send("CloseMe", "bye", false)
			ale.Expect("Told", "hi")
		}, `Ale wants Told("hi"), but the server has closed the connection with the error "bye"`},
		{"something comes", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("Say", "hi")
			ale.Invoke("Tell", "ho")
			ale.ExpectNothing()
		}, `Ale got Said("Ale", "hi") and Told("ho"), want nothing`},
		{"something long comes", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("Tell", strings.Repeat("x", 1000))
			ale.ExpectNothing()
		}, `Ale got Told("` + strings.Repeat("x", 499) + `… (1002 bytes)), want nothing`},
		{"held up", func(t testing.TB, ale *hubtest.Client) {
			ale.Send("Ignore", slices.Values(make([]int, 10_000)))
			synctest.Wait()
			ale.ExpectNothing()
		}, "Ale has no answer from the server within 10s: is it held up by an upload that its method does not read?"},
		{"does not fit", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("Tell", "hi")
			ale.Receive("Told", new(int))
		}, `Ale got Told("hi"), whose argument 1 does not fit into a *int: `},
		{"too many arguments", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("Tell", "hi")
			ale.Receive("Told")
		}, `Ale got Told("hi"), want Told with 0 arguments`},
		{"failed invocation", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("Fail", "why")
		}, "Ale invoked Fail, and it failed: An unexpected error occurred invoking 'Fail' on the server. HubException: why"},
		{"no failure", func(t testing.TB, ale *hubtest.Client) {
			ale.InvokeError("Add", 1, 2)
		}, "Ale invoked Add, and it returned 3, want an error"},
		{"result of another type", func(t testing.TB, ale *hubtest.Client) {
			hubtest.Invoke[string](ale, "Add", 1, 2)
		}, "Ale invoked Add, and its result 3 does not fit into a *string: "},
		{"no answer", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("UntilGone")
		}, "Ale invoked UntilGone, and got no answer within 10s"},
		{"the end instead of an answer", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("CloseMe", "", true)
		}, "Ale invoked CloseMe, and got no answer: the server has closed the connection"},
		{"invocation after the end", func(t testing.TB, ale *hubtest.Client) {
			ale.Close()
			ale.Invoke("Nothing")
		}, "Ale invokes Nothing, but the client has left"},
		{"invocation after the server's end", func(t testing.TB, ale *hubtest.Client) {
			ale.Send("CloseMe", "", true)
			synctest.Wait()
			ale.Invoke("Nothing")
		}, "Ale invokes Nothing, but the server has closed the connection"},
		{"argument that cannot be encoded", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("Nothing", 1i)
		}, "Ale invokes Nothing: write argument 1 of Nothing: json: unsupported type: complex128"},
		{"item that cannot be encoded", func(t testing.TB, ale *hubtest.Client) {
			ale.InvokeError("Sum", slices.Values([]complex128{1i}))
		}, "Ale uploads to Sum: write a stream item: json: unsupported type: complex128"},
		{"failing stream", func(t testing.TB, ale *hubtest.Client) {
			for range hubtest.Stream[int](ale, "Break", 1).All() {
			}
		}, "Ale streams Break, which failed: An error occurred on the server while streaming results. HubException: broken"},
		{"failing stream, next", func(t testing.TB, ale *hubtest.Client) {
			hubtest.Stream[int](ale, "Break", 0).Next()
		}, "Ale streams Break, which failed: An error occurred on the server while streaming results. HubException: broken; want another item"},
		{"end of a stream", func(t testing.TB, ale *hubtest.Client) {
			hubtest.Stream[int](ale, "Count", 0).Next()
		}, "Ale streams Count, which has ended; want another item"},
		{"stream that does not fail", func(t testing.TB, ale *hubtest.Client) {
			hubtest.Stream[int](ale, "Count", 0).Failure()
		}, "Ale streams Count, which ended without an error"},
		{"item and no failure", func(t testing.TB, ale *hubtest.Client) {
			hubtest.Stream[string](ale, "Forever").Failure()
		}, `Ale streams Forever, and got "again", want an error`},
		{"item of another type", func(t testing.TB, ale *hubtest.Client) {
			hubtest.Stream[int](ale, "Forever").Next()
		}, `Ale streams Forever, and its item "again" does not fit into a int: `},
		{"stream that says nothing", func(t testing.TB, ale *hubtest.Client) {
			hubtest.Stream[string](ale, "Shout", make(chan string)).Next()
		}, "Ale streams Shout, and got nothing for 10s"},
		{"end of the connection in a stream", func(t testing.TB, ale *hubtest.Client) {
			s := hubtest.Stream[string](ale, "Shout", make(chan string))
			ale.Drop()
			s.Next()
		}, "Ale streams Shout, but the client has left"},
		{"another end", func(t testing.TB, ale *hubtest.Client) {
			ale.Send("CloseMe", "this", true)
			ale.ExpectClose("that")
		}, `Ale wants a Close message with the error "that", but the server has closed the connection with the error "this"`},
		{"no end", func(t testing.TB, ale *hubtest.Client) {
			ale.ExpectClose("")
		}, "Ale is still connected after 10s, want the end of the connection"},
		{"message instead of the end", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("Tell", "hi")
			ale.ExpectClose("")
		}, `Ale got Told("hi"), want the end of the connection`},
		{"answer to what is no question", func(t testing.TB, ale *hubtest.Client) {
			ale.Invoke("Tell", "hi")
			ale.Expect("Told", "hi").Return(1)
		}, `Ale answers Told("hi"), but the server does not wait for that: it was sent, not invoked`},
		{"two answers", func(t testing.TB, ale *hubtest.Client) {
			ale.Start("Ask")
			m := ale.Expect("Question", "why", 7)
			m.Return("1")
			m.Fail("2")
		}, `Ale answers Question("why", 7) twice`},
		{"On nothing", func(t testing.TB, ale *hubtest.Client) {
			ale.On("Told", nil)
		}, `hubtest: On("Told"): a <nil> is no function`},
		{"On with any number of arguments", func(t testing.TB, ale *hubtest.Client) {
			ale.On("Told", func(...string) {})
		}, `hubtest: On("Told"): a func(...string) takes any number of arguments, take as many as the server sends`},
		{"On with two results", func(t testing.TB, ale *hubtest.Client) {
			ale.On("Told", func(string) (int, int) { return 0, 0 })
		}, `hubtest: On("Told"): a func(string) (int, int) returns too much, want at most a value and an error`},
		{"On with other arguments", func(t testing.TB, ale *hubtest.Client) {
			ale.On("Told", func() {})
			ale.Invoke("Tell", "hi")
			synctest.Wait()
		}, `Ale got Told("hi"), but the function for it takes 0 arguments`},
		{"On with arguments of other types", func(t testing.TB, ale *hubtest.Client) {
			ale.On("Told", func(int) {})
			ale.Invoke("Tell", "hi")
			synctest.Wait()
		}, `Ale got Told("hi"), but argument 1 of the function for it is a int: `},
		{"On that does not return", func(t testing.TB, ale *hubtest.Client) {
			release := make(chan struct{})
			ale.On("Told", func(string) { <-release })
			time.AfterFunc(time.Hour, func() { close(release) })
			ale.Invoke("Tell", "hi")
			synctest.Wait()
		}, "Ale has left, but a function given to On, or an iterator given as an argument, still runs after 10s"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := failure(func(t testing.TB) {
					test.do(t, hubtest.Connect(t, hubtest.New[testHub](t, nil), hubtest.As("Ale")))
				})
				if got != test.want && !(strings.HasSuffix(test.want, ": ") && strings.HasPrefix(got, test.want)) {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
				time.Sleep(time.Hour) // what still runs, ends
			})
		})
	}
}

func TestFailuresToConnect(t *testing.T) {
	onlyJSON := &hubs.Options{Protocols: []protocol.Protocol{protocol.JSON}}
	nobody := hubs.Endpoint{Require: func(*auth.User) bool { return false }}
	for _, test := range []struct {
		name string
		do   func(t testing.TB)
		want string
	}{
		{"a method that cannot be called", func(t testing.TB) { hubtest.New[badHub](t, nil) },
			"hubtest: hub *hubtest_test.badHub: method Bad: parameter 1: chan<- int: a stream comes in through a parameter <-chan T or iter.Seq2[T, error] and goes out as a result of one of these types or iter.Seq[T]"},
		{"a protocol that is not offered", func(t testing.TB) {
			hubtest.Connect(t, hubtest.New[testHub](t, onlyJSON), hubtest.Protocol(protocol.MessagePack))
		}, "hubtest: connect to /hubtest: shake hands: The protocol 'messagepack' is not supported."},
		{"refused", func(t testing.TB) {
			hubtest.Dial(t, hubtest.New[testHub](t, nil).Handler(&nobody), "/hub")
		}, "hubtest: connect to /hub: POST /hub/negotiate is answered 401 Unauthorized"},
		{"not refused", func(t testing.TB) {
			hubtest.Refused(t, hubtest.New[testHub](t, nil).Handler(nil), "/hub")
		}, "hubtest: /hub lets the client in, want that it is refused"},
		{"no hub", func(t testing.TB) {
			hubtest.Dial(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), "/hub")
		}, "hubtest: connect to /hub: POST /hub/negotiate: the answer is no hub's: EOF"},
		{"no hub refuses", func(t testing.TB) {
			hubtest.Refused(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}), "/hub")
		}, "hubtest: connect to /hub: POST /hub/negotiate: the answer is no hub's: EOF"},
		{"no path", func(t testing.TB) {
			hubtest.Dial(t, http.NotFoundHandler(), ":")
		}, "hubtest: connect to :: "},
		{"a user for a handler", func(t testing.TB) {
			hubtest.Dial(t, http.NotFoundHandler(), "/hub", hubtest.As("Ale"))
		}, "hubtest: As and AsUser are for Connect; sign in to a handler as its clients do, with Token, Header or Query"},
		{"the server is shutting down", func(t testing.TB) {
			server := hubtest.New[testHub](t, nil)
			if err := server.Shutdown(context.Background()); err != nil {
				t.Fatal(err)
			}
			hubtest.Connect(t, server)
		}, "hubtest: connect to /hubtest: "},
		{"OnConnected does not return", func(t testing.TB) {
			server := hubtest.NewServer(t, func() hubs.Interface { return new(slowHub) }, nil)
			hubtest.Connect(t, server)
		}, "hubtest: connect to /hubtest: OnConnected has not returned within 10s"},
		{"a method does not return", func(t testing.TB) {
			server := hubtest.NewServer(t, func() hubs.Interface { return new(slowHub) }, nil)
			hubtest.Connect(t, server, hubtest.Query("fast", "")).Send("Sleep")
			synctest.Wait()
		}, "hubtest: the server cannot shut down, since a hub method, OnConnected or OnDisconnected goes on for 10s after its context has ended"},
		{"OnDisconnected does not return", func(t testing.TB) {
			server := hubtest.NewServer(t, func() hubs.Interface { return new(sleepyHub) }, nil)
			hubtest.Connect(t, server, hubtest.Patience(9*time.Second)).Close()
		}, "anonymous leaves, but the server does not answer that: nothing for 9s: does OnDisconnected hang?"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				got := failure(test.do)
				if got != test.want && !(strings.HasSuffix(test.want, ": ") && strings.HasPrefix(got, test.want)) {
					t.Errorf("got  %s\nwant %s", got, test.want)
				}
				time.Sleep(2 * time.Hour) // what still runs, ends
			})
		})
	}
}

type badHub struct{ hubs.Hub }

func (*badHub) Bad(chan<- int) {}

// slowHub takes an hour for all that it does, whatever happens.
type slowHub struct{ hubs.Hub }

func (h *slowHub) OnConnected(string) {
	if !h.Request().URL.Query().Has("fast") {
		<-h.Context().Done()
	}
}

func (h *slowHub) Sleep() { time.Sleep(time.Hour) }
func (h *slowHub) Panic() { panic("at once") }

func (h *slowHub) SleepAndPanic() {
	h.Sleep()
	panic("later")
}

// What a server logs stands in its test's output, and nowhere when that is over.
func TestLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		output := &logged{T: example.Begin()}
		func() {
			defer func() { recover() }() // the server cannot shut down
			defer output.End()
			server := hubtest.NewServer(output, func() hubs.Interface { return new(slowHub) }, nil)
			ale := hubtest.Connect(output, server, hubtest.Query("fast", ""))
			ale.InvokeError("Panic")
			ale.Send("SleepAndPanic")
			synctest.Wait()
		}()
		if got := output.String(); !strings.HasPrefix(got, `level=error msg="hub panicked" where=Panic `) {
			t.Errorf("logged: %s", got)
		}
		output.Reset()
		time.Sleep(2 * time.Hour)
		if got := output.String(); got != "" {
			t.Errorf("logged after the test: %s", got)
		}
	})
}

// logged is a test whose output can be read.
type logged struct {
	*example.T
	bytes.Buffer
}

func (l *logged) Output() io.Writer { return &l.Buffer }
