package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
)

// receiver has the methods that the hub may invoke. The client calls each in a
// goroutine of its own, so that calls overtake one another.
type receiver struct{ out *printer }

// ReceiveMessage prints a message when all that came before it are printed.
func (r *receiver) ReceiveMessage(sender string, text arrival) {
	r.out.printInOrder(text.number, sender+": "+text.text)
}

// arrival is a text that knows how many came before it: the client decodes
// arguments in the order in which they arrive, before it starts the goroutine.
type arrival struct {
	text   string
	number uint64
}

// arrivals is how many texts have been decoded; a value that decodes itself
// can be given no other place to count.
var arrivals atomic.Uint64

// UnmarshalJSON counts what it accepts only, as nothing else gets a call.
func (a *arrival) UnmarshalJSON(data []byte) error {
	text := "null"
	if string(data) != text {
		if err := json.Unmarshal(data, &text); err != nil {
			return err
		}
	}
	*a = arrival{text: text, number: arrivals.Add(1) - 1}
	return nil
}

// printer prints lines; the numbered ones in the order of their numbers.
type printer struct {
	w io.Writer

	mu    sync.Mutex
	next  uint64
	early map[uint64]string
}

func (p *printer) print(line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.write(line)
}

func (p *printer) printInOrder(number uint64, line string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.early == nil {
		p.early = make(map[uint64]string)
	}
	p.early[number] = line
	for {
		line, ok := p.early[p.next]
		if !ok {
			return
		}
		delete(p.early, p.next)
		p.next++
		p.write(line)
	}
}

var oneLine = strings.NewReplacer("\r\n", " ", "\r", " ", "\n", " ")

func (p *printer) write(line string) { fmt.Fprintln(p.w, oneLine.Replace(line)) }
