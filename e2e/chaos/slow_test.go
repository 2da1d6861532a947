package chaos

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"signalrd/hubs/protocol"
	"signalrd/hubs/transport"
	"signalrd/internal/wall"
)

// connections is how many a farm has.
func (f *farm) connections() (n int, err error) {
	for _, s := range f.servers {
		in, failed := s.look()
		n, err = n+in.Connections, errors.Join(err, failed)
	}
	return n, err
}

// onlyTraffic waits until there are no connections but those of the traffic, and says how
// many that are.
func (r *run) onlyTraffic() (n int) {
	r.Helper()
	n = len(r.traffic.all()) + len(r.traffic.from())
	r.awaitConnections(n)
	return n
}

// awaitConnections waits until a farm has so many.
func (r *run) awaitConnections(want int) {
	r.Helper()
	r.must("connections", eventually(func() error {
		n, err := r.connections()
		if err == nil && n != want {
			err = fmt.Errorf("the farm has %d connections, want %d", n, want)
		}
		return err
	}))
}

// stopReading has clients read nothing while they are sent more than may wait for them.
// They are dropped.
func stopReading(r *run) {
	before := r.onlyTraffic()
	group := fmt.Sprint("slow", trafficNumber.Add(1))
	const slow = 24
	stop, dropped := make(chan struct{}), make(chan error, 1)
	go func() {
		dropped <- together(slow, slow, func(i int) error {
			return raw(r.servers[i%len(r.servers)].hub(), func(conn net.Conn) error { return listenNot(conn, group, stop) })
		})
	}()
	sender, err := connect(r.any().hub(), "sender", carriers[0])
	if err != nil {
		r.Fatal(err)
	}
	r.awaitConnections(before + slow + 1)
	text := strings.Repeat("x", 20_000)
	for range 500 { // more than the system's buffers and the queue of any of them
		if _, err := sender.invoke("SendGroup", group, text); err != nil {
			r.Fatal(err)
		}
	}
	sender.close()
	r.awaitConnections(before)
	close(stop)
	r.must("slow clients", <-dropped)
}

// listenNot joins a group and reads nothing.
func listenNot(conn net.Conn, group string, stop <-chan struct{}) error {
	conn.(*net.TCPConn).SetReadBuffer(4096)
	join := invocation("Join", group)
	join.InvocationID = "joined"
	if _, err := conn.Write(frames(protocol.JSON, 1, join)); err != nil {
		return err
	}
	if err := until(conn, "joined"); err != nil {
		return err
	}
	<-stop
	return nil
}

// vanish has clients vanish without a word, as behind a network that has lost its way:
// nobody is told. They are missed, and nothing is kept for them.
func vanish(r *run) {
	before := r.onlyTraffic()
	const clients = 40
	s := r.any()
	front := wall.New(r.T, s.address)
	group := fmt.Sprint("vanished", trafficNumber.Add(1))
	all := make([]*client, clients)
	r.must("connect", together(clients, 16, func(i int) (err error) {
		by := carriers[i%3] // the silence of long polling is heard when a poll ends, after a minute and a half
		if all[i], err = connect("http://"+front.Addr()+s.kind.hub, "vanishing", by); err != nil {
			return err
		}
		// The silence of a client counts from its first ping on.
		if err = all[i].conn.Send(r.Context(), &protocol.Message{Type: protocol.Ping}); err == nil {
			_, err = all[i].invoke("Join", group)
		}
		return err
	}))
	channel := "Reference.ReferenceHub:group:" + group
	if n := r.subscribers(channel); n != 1 {
		r.Errorf("%d servers are subscribed to the group, want 1", n)
	}
	front.Silence()
	r.awaitConnections(before)
	if n := r.subscribers(channel); n != 0 {
		r.Errorf("%d servers are still subscribed to the group", n)
	}
	for _, c := range all {
		if c != nil {
			c.abort()
		}
	}
	front.Cut(wall.All)
}

// subscribers is how many servers are subscribed to a channel.
func (r *run) subscribers(channel string) int64 {
	answer, err := r.store.Do("PUBSUB", "NUMSUB", channel).Slice()
	if err != nil {
		r.Error(err)
		return -1
	}
	return answer[1].(int64)
}

// cutClients cuts the connections of receivers again and again, over all carriers. They
// come back as new ones. What each gets has no gap up to its end.
func cutClients(r *run) { cutReceivers(r, carriers, 6) }

// cutEvents does so in the middle of event streams only.
func cutEvents(r *run) {
	cutReceivers(r, []carrier{{transport.ServerSentEvents, protocol.JSON}}, 10)
}

func cutReceivers(r *run, by []carrier, times int) {
	s := r.any()
	front := wall.New(r.T, s.address)
	hub := "http://" + front.Addr() + s.kind.hub
	for range times {
		known := len(r.traffic.all())
		for i := range 2 * len(by) {
			if err := r.traffic.receiveAt(s, hub, by[i%len(by)]); err != nil {
				r.Fatal(err)
			}
		}
		r.pause(800)
		front.Silence() // over long polling they would poll again, and get what came after the poll that was lost
		front.Cut(wall.All)
		for _, one := range r.traffic.all()[known:] {
			one.abort()
			one.gone.Store(true)
		}
		front.Open()
	}
}

// floodNegotiations negotiates connections that nobody ever opens.
func floodNegotiations(r *run) {
	chances := r.chances(6000)
	r.must("negotiate", together(len(chances), 64, func(i int) error {
		return negotiate(r.servers[i%len(r.servers)].hub(), chances[i].IntN(2) == 0)
	}))
}

// sendTooMuch sends messages that are larger than may be, over each carrier: whoever does
// is told and loses the connection. So does a body that never ends.
func sendTooMuch(r *run) {
	large := strings.Repeat("x", 40_000)
	chances := r.chances(100)
	r.must("large messages", together(len(chances), 16, func(i int) error {
		c, err := connect(r.servers[i%len(r.servers)].hub(), "large", carriers[i%len(carriers)])
		if err != nil {
			return err
		}
		defer c.abort()
		answer, err := c.invoke("Echo", large)
		if err == nil {
			return fmt.Errorf("%s: %d bytes are echoed", c.carrier, len(answer))
		}
		if _, refused := errors.AsType[errRefused](err); refused {
			return fmt.Errorf("%s: it is answered: %w", c.carrier, err)
		}
		return nil
	}))
	r.must("large bodies", together(6, 6, func(i int) error { return postTooMuch(r.servers[i%len(r.servers)]) }))
}

// postTooMuch posts more than 30,000,000 bytes, of whole records.
func postTooMuch(s *server) error {
	token, err := negotiated(s.hub())
	if err != nil {
		return err
	}
	if _, err := get(s.hub() + "?id=" + token); err != nil { // the first poll
		return err
	}
	conn, err := net.Dial("tcp", s.address)
	if err != nil {
		return err
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	const chunk = 100_000
	fmt.Fprintf(conn, "POST %s?id=%s HTTP/1.1\r\nHost: %s\r\nTransfer-Encoding: chunked\r\n\r\n", s.kind.hub, token, s.address)
	ping := append([]byte(hello), bytes.Repeat([]byte(`{"type":6}`+"\x1e"), chunk/11)...)
	piece := append(fmt.Appendf(nil, "%x\r\n", len(ping)), append(ping, "\r\n"...)...)
	for range 40_000_000 / chunk {
		if _, err := conn.Write(piece); err != nil {
			return nil // it is over
		}
	}
	return until(conn, "HTTP/1.1 400")
}
