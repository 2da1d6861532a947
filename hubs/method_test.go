package hubs

import (
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/philippseith/signalr"
)

type (
	withVariadic  struct{ Hub }
	withChannel   struct{ Hub }
	withStream    struct{ Hub }
	withFunc      struct{ Hub }
	withInterface struct{ Hub }
	withTwoErrors struct{ Hub }
	withTwins     struct{ Hub }
	withComplex   struct{ Hub }
	recursive     []recursive
	withRecursive struct{ Hub }
	withStringer  struct{ Hub }
)

func (*withVariadic) All(names ...string)               {}
func (*withChannel) Upload(items chan<- int)            {}
func (*withStream) Download() (<-chan int, string)      { return nil, "" }
func (*withFunc) Callback(f []func())                   {}
func (*withInterface) Read(r io.Reader)                 {}
func (*withTwoErrors) Errors() (error, error)           { return nil, nil }
func (*withTwins) Send(string)                          {}
func (*withTwins) SEND(string)                          {}
func (*withComplex) Number(context.Context, *complex64) {}
func (*withRecursive) Take(recursive) recursive         { return nil }
func (*withStringer) Give() fmt.Stringer                { return nil }

func TestSignaturesAreCheckedAtTheStart(t *testing.T) {
	for _, test := range []struct {
		hub  Interface
		want []string
	}{
		{new(withVariadic), []string{"withVariadic", "method All", "take a slice"}},
		{new(withChannel), []string{"method Upload", "parameter 1", "chan<- int", "<-chan T"}},
		{new(withStream), []string{"method Download", "result 1", "<-chan int", "only result"}},
		{new(withFunc), []string{"method Callback", "parameter 1", "func()"}},
		{new(withInterface), []string{"method Read", "io.Reader"}},
		{new(withTwoErrors), []string{"method Errors", "result 1", "last"}},
		{new(withTwins), []string{"duplicate definitions of method Send"}},
		{new(withComplex), []string{"method Number", "parameter 1", "complex64"}},
		{nil, []string{"pointer to a struct"}},
	} {
		_, err := NewServer(func() Interface { return test.hub }, nil)
		if err == nil {
			t.Errorf("%T was accepted", test.hub)
			continue
		}
		for _, part := range test.want {
			if !strings.Contains(err.Error(), part) {
				t.Errorf("%T: %q does not say %q", test.hub, err, part)
			}
		}
	}
	newTestServer(t, func() Interface { return new(withRecursive) }, nil)
	newTestServer(t, func() Interface { return new(withStringer) }, nil)
}

// namesake has a method that shares its name, and nothing else, with one of Hub's.
type namesake struct{ Hub }

func (*namesake) Close(room int) string { return "closed" }
func (*namesake) Abort()                {}

func TestMethodsNamedLikeThoseOfHub(t *testing.T) {
	c := newMemory("").connect(t, newTestServer(t, func() Interface { return new(namesake) }, nil))
	c.invoke("1", "Close", 7)
	c.expect(t, result(`"closed"`))
	c.invoke("1", "Abort")
	c.expect(t, refused("Failed to invoke 'Abort' due to an error on the server. HubException: Method does not exist."))
}

// stockHub is written for github.com/philippseith/signalr alone.
type stockHub struct{ signalr.Hub }

func (h *stockHub) OnConnected(connectionID string) {
	h.Groups().AddToGroup("room", connectionID)
	h.Items().Store("greeting", "hello")
}

func (h *stockHub) Greet(name string) string {
	greeting, _ := h.Items().Load("greeting")
	return fmt.Sprint(greeting, " ", name)
}

func (h *stockHub) Tell(id string) {
	h.Clients().All().Send("m", "all")
	h.Clients().Caller().Send("m", "caller")
	h.Clients().Client(id).Send("m", "client")
	h.Clients().Group("room").Send("m", "group")
	h.Groups().RemoveFromGroup("room", h.ConnectionID())
	h.Clients().Group("room").Send("m", "nobody")
	info, debug := h.Logger()
	info.Log("msg", "told")
	debug.Log("msg", "told")
}

func (h *stockHub) Leave() { h.Abort() }

// User is a name that hubs.Hub takes, but this hub does not embed it.
func (h *stockHub) User(name string) string { return name }

func TestHubForPhilippseithSignalr(t *testing.T) {
	s := newTestServer(t, func() Interface { return new(stockHub) }, nil)
	c := newMemory("").connect(t, s)
	c.invoke("1", "greet", "ale")
	c.expect(t, result(`"hello ale"`))
	c.invoke("1", "user", "ale")
	c.expect(t, result(`"ale"`))
	c.invoke("1", "tell", c.ID())
	for _, to := range []string{"all", "caller", "client", "group"} {
		c.expect(t, `{"type":1,"target":"m","arguments":["`+to+`"]}`)
	}
	c.expect(t, result("null"))
	c.invoke("1", "leave")
	c.expect(t, `{"type":7}`)
	c.expectClosed(t, 1000)
}

type foreignContext struct{ signalr.HubContext }

func TestHubInAForeignServer(t *testing.T) {
	h := new(Hub)
	h.Initialize(foreignContext{})
	defer func() {
		if text := fmt.Sprint(recover()); !strings.Contains(text, "embed signalr.Hub") {
			t.Errorf("panic %q does not say what to do", text)
		}
	}()
	h.Clients()
}
