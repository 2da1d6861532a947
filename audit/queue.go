package audit

import "sync"

// queue is lines on their way to the writer, up to so many bytes. Those that do
// not fit are counted.
type queue struct {
	most int
	some chan struct{} // has a value when there may be something in the queue

	mu   sync.Mutex
	next batch
}

// batch is what is written at once.
type batch struct {
	lines []byte // each ends in a line feed
	count uint64
	lost  uint64 // that should be among them or before them, and are not
}

func newQueue(most int) *queue { return &queue{most: most, some: make(chan struct{}, 1)} }

// add takes a line, or returns false if there is no room for it.
func (q *queue) add(line []byte) bool {
	fits := q.put(line)
	select {
	case q.some <- struct{}{}:
	default: // it has one
	}
	return fits
}

func (q *queue) put(line []byte) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.next.lines)+len(line) > q.most {
		q.next.lost++
		return false
	}
	q.next.lines = append(q.next.lines, line...)
	q.next.count++
	return true
}

// take returns what there is, for the writer to keep. Room is what it has done with.
func (q *queue) take(room []byte) batch {
	q.mu.Lock()
	defer q.mu.Unlock()
	b := q.next
	q.next = batch{lines: room[:0]}
	return b
}
