package publish

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
)

// entry is a line of the input, or what is published of it.
type entry struct {
	number int // from 1; 0: there are no lines
	text   []byte
	cut    bool // there was more of it than can be good
}

// buffered is how much is read at once, in bytes, and so how much is published at once.
const buffered = 64 << 10

// expansion is by how much JSON on a line may be longer than what it says: every
// character as an escape, and white space.
const expansion = 8

// read hands over the lines that have arrived together, without empty ones, until the
// input or ctx ends. What has arrived does not wait for what has not.
func read(ctx context.Context, in io.Reader, maxBytes int, out chan<- []entry) error {
	from := bufio.NewReaderSize(in, buffered)
	for number := 0; ; {
		var batch []entry
		var err error
		for whole := true; whole && err == nil; whole = hasLine(from) {
			number++
			line := entry{number: number}
			line.text, line.cut, err = readLine(from, expansion*maxBytes)
			if line.text = bytes.TrimSpace(line.text); len(line.text) > 0 {
				batch = append(batch, line)
			}
		}
		if len(batch) > 0 {
			select {
			case out <- batch:
			case <-ctx.Done():
				return nil
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read line %d: %w", number, err)
		}
	}
}

// hasLine says whether a line can be read without waiting.
func hasLine(r *bufio.Reader) bool {
	waiting, _ := r.Peek(r.Buffered()) // never more than there is
	return bytes.IndexByte(waiting, '\n') >= 0
}

// readLine reads a line, of which it keeps not much more than limit.
func readLine(r *bufio.Reader, limit int) (line []byte, cut bool, err error) {
	for {
		piece, err := r.ReadSlice('\n')
		if cut = cut || len(line) > limit; !cut {
			line = append(line, piece...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return line, cut, err
		}
	}
}
