//go:build unix && !race

// The race detector has pools forget some of what they are given; elsewhere
// than on Unix every socket is waited for.

package transport

import (
	"io"
	"testing"
)

// What is done for each message, over a plain socket, allocates nothing.
func TestMessagesAllocateNothing(t *testing.T) {
	for _, size := range []int{1, 100, 8000} {
		for name, message := range map[string]func(c Prompt, client *rawClient, payload, frame, buf []byte) error{
			"Send":    func(c Prompt, _ *rawClient, payload, _, _ []byte) error { return c.Send(payload) },
			"TrySend": func(c Prompt, _ *rawClient, payload, _, _ []byte) error { return sendPromptly(c, payload) },
			"Receive": func(c Prompt, client *rawClient, payload, frame, buf []byte) error {
				if _, err := client.Write(frame); err != nil {
					return err
				}
				for received := buf; len(received) < len(payload); {
					var err error
					if received, err = c.Receive(received); err != nil {
						return err
					}
				}
				return nil
			},
		} {
			t.Run(name+" "+byteCount(size), func(t *testing.T) {
				conns := make(chan Conn, 1)
				s := startServer(t, func(c Conn) { conns <- c }, nil)
				client := s.raw(t, "")
				c := (<-conns).(Prompt)
				payload, buf, reading := make([]byte, size), make([]byte, 0, 2*size), make(chan struct{})
				frame := clientFrame(0x82, string(payload))
				go func() {
					defer close(reading)
					io.Copy(io.Discard, client.Conn)
				}()
				allocs := testing.AllocsPerRun(200, func() {
					if err := message(c, client, payload, frame, buf); err != nil {
						t.Fatal(err)
					}
				})
				if allocs > 0 {
					t.Errorf("%v allocations", allocs)
				}
				c.Abort()
				<-reading
			})
		}
	}
}
